/* Status reports: what is recorded of them, and that an unsafe one is never acknowledged. */
#include "gate_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char topic[] = "devices/d1/ota/status";

static void test_members(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	const struct event *event;
	(void)state;

	fixture_subscribe(&client, "fleet/north/ota/available");
	assert_int_equal(
		fixture_message(&client, topic,
			"{\"version\":\"1.5.0\",\"status\":\"deferred\",\"error\":\"LOW_BATTERY\",\"hardware\":\"hw2\","
			"\"attempt\":3,\"retryAfter\":60,\"bootId\":\"b\",\"extra\":[1,2]}",
			1),
		MOSQ_ERR_SUCCESS);
	event = fixture_last(f, EVENT_REPORT);
	assert_int_equal(event->status, REPORT_DEFERRED);
	assert_int_equal(event->attempt, 3);
	assert_int_equal(event->retry_after_ms, 60000);
	assert_int_equal(event->at_ms, fixture_wall_ms);
	assert_string_equal(event->version, "1.5.0");
	assert_string_equal(event->error, "LOW_BATTERY");
	assert_string_equal(event->hardware, "hw2");
	assert_string_equal(event->fleet, "north");
	assert_non_null(strstr(event->json, "\"extra\":[1,2]"));
	assert_int_equal(f->gate->counters.reports_received, 1);
	fixture_free(f);
}

static void test_malformed(void **state)
{
	static const char *const payloads[] = { "", "{", "[]", "x", "{\"status\":\"DANCING\"}",
		"{\"version\":1}", "{\"status\":\"SUCCESS\"}", "{\"version\":\"1.0.0\"} trailing" };
	static char large[9000];
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	(void)state;

	for (size_t i = 0; i < COUNT(payloads); i++) {
		assert_int_equal(fixture_message(&client, topic, payloads[i], 1), MOSQ_ERR_SUCCESS);
		if (fixture_events(f, EVENT_MALFORMED) != i + 1) {
			fail_msg("'%s' was taken for a report", payloads[i]);
		}
		assert_string_not_equal(fixture_last(f, EVENT_MALFORMED)->text, "");
		assert_string_equal(fixture_last(f, EVENT_MALFORMED)->device, "d1");
	}
	memset(large, ' ', sizeof(large) - 1);
	memcpy(large, "{\"version\":\"1.0.0\"}", 19); /* NOLINT(bugprone-not-null-terminated-result) */
	assert_int_equal(fixture_message(&client, topic, large, 1), MOSQ_ERR_SUCCESS);
	assert_int_equal(f->count, COUNT(payloads) + 1);
	assert_int_equal(f->gate->counters.reports_malformed, COUNT(payloads) + 1);
	fixture_free(f);
}

/* The contract's hardest sentence: refused, never silently dropped. */
static void test_full_outbox(void **state)
{
	static const struct {
		bool modern;
		int protocol_version;
		int qos;
		int expected;
	} rows[] = {
		{ false, 5, 1, MOSQ_ERR_ACL_DENIED },
		{ false, 5, 2, MOSQ_ERR_ACL_DENIED },
		{ false, 4, 1, MOSQ_ERR_UNKNOWN },
		{ false, 4, 2, MOSQ_ERR_UNKNOWN },
		{ false, 3, 1, MOSQ_ERR_UNKNOWN },
		{ false, 5, 0, MOSQ_ERR_SUCCESS },
		{ false, 4, 0, MOSQ_ERR_SUCCESS },
		{ true, 5, 1, COMPAT_ERR_QUOTA_EXCEEDED },
		{ true, 4, 1, MOSQ_ERR_UNKNOWN },
		{ true, 4, 0, MOSQ_ERR_SUCCESS },
		{ true, 5, 0, MOSQ_ERR_SUCCESS },
	};
	(void)state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct fixture *f = fixture_new(rows[i].modern);
		struct mosquitto client = { .id = "d1", .protocol_version = rows[i].protocol_version };

		f->append_result = OTA_ERR_FULL;
		assert_int_equal(fixture_message(&client, topic, "{\"version\":\"1.0.0\"}", rows[i].qos),
			rows[i].expected);
		assert_int_equal(f->gate->counters.reports_refused, 1);
		assert_int_equal(f->gate->sessions.connected, 0);
		/* Room again: the same report is taken, with the session's beginning before it. */
		f->append_result = OTA_OK;
		assert_int_equal(fixture_message(&client, topic, "{\"version\":\"1.0.0\"}", rows[i].qos),
			MOSQ_ERR_SUCCESS);
		assert_int_equal(f->events[0].kind, EVENT_CONNECTED);
		assert_int_equal(f->events[1].kind, EVENT_REPORT);
		fixture_free(f);
	}
}

/* One line a minute, not one a report. */
static void test_full_outbox_log(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 5 };
	(void)state;

	f->append_result = OTA_ERR_FULL;
	for (int i = 0; i < 1000; i++) {
		fixture_message(&client, topic, "{\"version\":\"1.0.0\"}", 1);
		fixture_mono_us += 61000;
	}
	assert_int_equal(fake_log_count("status report cannot be kept"), 2);
	assert_int_equal(f->gate->counters.reports_refused, 1000);
	fixture_free(f);
}

/* per_listener_settings before 2.0.15: no tick ever; messages do its work then. */
static void test_missing_tick(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	(void)state;

	fixture_subscribe(&client, "devices/d1/ota/available");
	fixture_message(&client, topic, "{\"version\":\"1.0.0\"}", 1);
	fixture_mono_us += 4999000;
	fixture_message(&client, topic, "{\"version\":\"1.0.0\"}", 1);
	assert_int_equal(fake_log_count("never calls the tick"), 0);
	fixture_mono_us += 2000;
	fixture_message(&client, topic, "{\"version\":\"1.0.0\"}", 1);
	assert_int_equal(fake_log_count("never calls the tick"), 1);
	assert_int_equal(fixture_events(f, EVENT_LISTENING), 0);
	fixture_mono_us += 20000;
	fixture_message(&client, "sensors/1", "x", 0);
	assert_int_equal(fixture_events(f, EVENT_LISTENING), 1);
	assert_int_equal(fake_log_count("never calls the tick"), 1);
	fixture_tick(20);
	assert_false(f->gate->tick_dead);
	fixture_free(f);

	f = fixture_new(false);
	fixture_tick(20); /* it ticks: no complaint, however slow reports come */
	fixture_message(&client, topic, "{\"version\":\"1.0.0\"}", 1);
	fixture_mono_us += 60000000;
	fixture_message(&client, topic, "{\"version\":\"1.0.0\"}", 1);
	assert_int_equal(fake_log_count("never calls the tick"), 0);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_full_outbox),
		cmocka_unit_test(test_full_outbox_log),
		cmocka_unit_test(test_missing_tick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
