/* Lifecycle, tick, log lines and figures. */
#include "gate_fixture.h"

static void test_generation(void **state)
{
	(void)state;
	fake_reset(false);
	assert_false(gate_broker_is_modern(NULL));
	fake_reset(true);
	assert_true(gate_broker_is_modern(NULL));
	assert_int_equal(fake_callbacks(), 0);
}

static void test_callbacks(void **state)
{
	struct fixture *f = fixture_new(false);
	(void)state;

	assert_int_equal(fake_callbacks(), 6);
	fixture_free(f);
	f = fixture_new(true);
	assert_int_equal(fake_callbacks(), 8);
	fixture_free(f);
	gate_stop(NULL);
}

/* Whichever callback is refused, none stays. */
static void test_refused_callback(void **state)
{
	static const int events[] = { 1, 2, 6, 7, 9, 10, 11, 28 };
	struct fixture *f = fixture_new(true);
	struct gate_links links = f->gate->links;
	struct gate *gate = NULL;
	struct ota_why why = { "" };
	(void)state;

	gate_stop(f->gate);
	f->gate = NULL;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		fake_refuse_event(events[i], MOSQ_ERR_ALREADY_EXISTS);
		assert_int_equal(
			gate_start(NULL, &f->options, &links, true, &gate, &why), OTA_ERR_CONFLICT);
		assert_non_null(strstr(why.text, "loaded twice"));
		assert_null(gate);
		assert_int_equal(fake_callbacks(), 0);
	}
	fixture_free(f);
}

static void test_reload(void **state)
{
	struct mosquitto_evt_reload reload = { 0 };
	struct fixture *f = fixture_new(false);
	(void)state;

	assert_int_equal(fake_call(MOSQ_EVT_RELOAD, &reload), MOSQ_ERR_PLUGIN_DEFER);
	assert_int_equal(f->reloads, 1);
	fixture_free(f);
	f = fixture_new(true);
	assert_int_equal(fake_call(MOSQ_EVT_RELOAD, &reload), MOSQ_ERR_SUCCESS);
	assert_int_equal(f->reloads, 1);
	fixture_free(f);
}

/* 2.0 ignores the slot; 2.1 reads milliseconds there. */
static void test_tick_slot(void **state)
{
	struct fixture *f = fixture_new(false);
	(void)state;

	assert_int_equal(fixture_tick(20), -1);
	fixture_free(f);
	f = fixture_new(true);
	assert_int_equal(fixture_tick(20), 100);
	fixture_free(f);
}

static int64_t looks;

static int64_t count_looks(void)
{
	looks++;
	return fixture_mono_us;
}

/* It comes with every message of others: it looks at the clock only when there is something to do, and now and then. */
static void test_tick_without_work(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	(void)state;

	fixture_tick(20);
	f->gate->clock.coarse_us = count_looks;
	looks = 0;
	for (int i = 0; i < 10 * GATE_TICK_RARE; i++) {
		fixture_tick(20);
	}
	assert_int_equal(looks, 10);

	looks = 0;
	logring_printf(f->log, LOG_LEVEL_INFO, "a line");
	fixture_tick(5); /* too early: it waits for the next one */
	fixture_tick(20);
	assert_int_equal(looks, 2);
	assert_int_equal(fake_log_count("a line"), 1);
	assert_true(queue_push(f->changes, change_new(CHANGE_GATEWAYS)));
	fixture_tick(20);
	assert_int_equal(looks, 3);
	assert_true(f->gate->via.known);
	fixture_subscribe(&client, "devices/d1/ota/available");
	fixture_tick(20);
	assert_int_equal(looks, 4);
	assert_int_equal(fixture_events(f, EVENT_LISTENING), 1);
	fixture_tick(20);
	assert_int_equal(looks, 4);
	fixture_free(f);
}

static void test_log(void **state)
{
	struct fixture *f = fixture_new(false);
	(void)state;

	for (int i = 0; i < 70; i++) {
		logring_printf(f->log, LOG_LEVEL_INFO, "line %%s %d.", i);
	}
	assert_int_equal(fake_log_count("ota: line"), 0);
	fixture_tick(20);
	assert_int_equal(fake_log_count("ota: line %s"), 64);
	assert_int_equal(fake_log_count("6 log lines were dropped"), 1);
	logring_printf(f->log, LOG_LEVEL_ERROR, "the last words");
	fixture_tick(5); /* not again within 10 ms */
	assert_int_equal(fake_log_count("the last words"), 0);
	gate_stop(f->gate);
	f->gate = NULL;
	assert_int_equal(fake_log_count("the last words"), 1);
	fixture_free(f);
}

static void test_metrics(void **state)
{
	static const struct {
		enum change_kind kind;
		const char *text;
		const char *topic;
		const char *payload;
	} rows[] = {
		{ CHANGE_DATABASE, "{\"connected\":true}", "$SYS/broker/ota/database",
			"{\"connected\":true}" },
		{ CHANGE_AUDIT, "{\"heads\":[]}", "$SYS/broker/ota/audit", "{\"heads\":[]}" },
		{ CHANGE_METRIC, "outbox/bytes", "$SYS/broker/ota/outbox/bytes", "42" },
		{ CHANGE_ROLLOUT, "{}", "$SYS/broker/ota/rollout/3", "{}" },
		{ CHANGE_ROLLOUT, "", "$SYS/broker/ota/rollout/3", "" },
	};
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	struct change *bad = change_new(CHANGE_METRIC);
	(void)state;

	fixture_tick(20);
	assert_int_equal(fake_publishes(), METRICS_COUNT);
	for (size_t i = 0; i < METRICS_COUNT; i++) {
		assert_string_equal(fake_publish_at(i)->payload, "0");
		assert_true(fake_publish_at(i)->retain);
		assert_null(fake_publish_at(i)->client_id);
	}
	fixture_acl(&client, MOSQ_ACL_WRITE, "devices/d2/ota/status", "{}");
	fixture_message(&client, "devices/d1/ota/status", "{\"version\":\"1.0.0\"}", 1);
	fixture_tick(9000);
	assert_int_equal(fake_publishes(), METRICS_COUNT);
	fixture_tick(1100);
	fixture_ticks(); /* only what changed */
	assert_int_equal(fake_publishes(), METRICS_COUNT + 3);
	assert_string_equal(fake_publish_on("$SYS/broker/ota/denied")->payload, "1");
	assert_string_equal(fake_publish_on("$SYS/broker/ota/reports/received")->payload, "1");
	assert_string_equal(fake_publish_on("$SYS/broker/ota/devices/connected")->payload, "1");

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct change *change = change_new(rows[i].kind);

		assert_non_null(change);
		change->text = strdup(rows[i].text);
		change->value = 42;
		change->rollout = 3;
		assert_true(queue_push(f->changes, change));
		fixture_tick(20);
		assert_string_equal(fake_publish_on(rows[i].topic)->payload, rows[i].payload);
		assert_true(fake_publish_on(rows[i].topic)->retain);
	}
	assert_non_null(bad);
	bad->text = strdup("a/#");
	assert_true(queue_push(f->changes, bad));
	fake_forget_publishes();
	fixture_tick(20);
	assert_int_equal(fake_publishes(), 0);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_generation),
		cmocka_unit_test(test_callbacks),
		cmocka_unit_test(test_refused_callback),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_tick_slot),
		cmocka_unit_test(test_tick_without_work),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_metrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
