/* Notices and recalls: the last check, topics, pacing. */
#include "deliver_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char report[] = "{\"version\":\"1.0.0\"}";

static void test_notice(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&client);
	const struct fake_publish *sent;
	(void)state;

	push(f, new_offer("d1", 1));
	fixture_tick(20);
	assert_int_equal(fake_publishes(), 1);
	sent = fake_publish_at(0);
	assert_string_equal(sent->client_id, "d1");
	assert_string_equal(sent->topic, "fleet/north/ota/available");
	assert_int_equal(sent->qos, 1);
	assert_false(sent->retain);
	assert_int_equal(sent->length, strlen(sent->payload));
	assert_non_null(strstr(sent->payload, "\"version\":\"1.5.0\""));
	assert_non_null(strstr(sent->payload, "\"rollout\":17"));
	assert_non_null(strstr(sent->payload, "\"stage\":\"canary\""));
	assert_int_equal(f->count, 0);
	assert_int_equal(f->gate->counters.notices_sent, 1);

	/* The same offer again is the copy on its way; the next attempt is not. */
	push(f, new_offer("d1", 1));
	fixture_tick(50);
	assert_int_equal(fake_publishes(), 1);
	push(f, new_offer("d1", 2));
	fixture_tick(50);
	assert_int_equal(fake_publishes(), 2);
	fixture_free(f);
}

static void spoil_hardware(struct change *offer)
{
	free(offer->hardware);
	offer->hardware = strdup("hw9");
}

static void spoil_hardware_unknown(struct change *offer)
{
	free(offer->hardware);
	offer->hardware = NULL;
}

static void spoil_fleet(struct change *offer)
{
	free(offer->fleet);
	offer->fleet = strdup("east");
}

static void spoil_sequence(struct change *offer)
{
	offer->sequence = 6;
}

static void spoil_current(struct change *offer)
{
	free(offer->version);
	offer->version = strdup("1.5.0");
}

static void spoil_rollout(struct change *offer)
{
	offer->rollout = 18;
}

static void spoil_release(struct change *offer)
{
	offer->release_id = 8;
}

static void spoil_time(struct change *offer)
{
	offer->by_ms = fixture_mono_us / 1000;
}

static void spoil_device(struct change *offer)
{
	free(offer->device);
	offer->device = strdup("d2");
}

static void spoil_device_deaf(struct change *offer)
{
	free(offer->device);
	offer->device = strdup("deaf");
}

/* What was answered is kept for that session only, in whichever session the answer came. */
static void test_answered_is_forgotten(void **state)
{
	static const char busy[] = "{\"version\":\"1.0.0\",\"status\":\"DOWNLOADING\"}";
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct mosquitto hub = { .id = "hub", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&client);
	struct change *gateways = change_new(CHANGE_GATEWAYS);
	struct change *beacon = new_offer("b1", 1);
	(void)state;

	assert_non_null(gateways);
	gateways->text = strdup("hub");
	push(f, gateways);
	push(f, new_offer("d1", 1));
	fixture_tick(20);
	assert_int_equal(f->gate->deliver.told.notices.count, 1);
	fixture_disconnect(&client, 0);
	assert_int_equal(f->gate->deliver.told.notices.count, 1);
	fixture_message(&client, "devices/d1/ota/status", busy, 1);
	fixture_disconnect(&client, 0);
	assert_int_equal(f->gate->deliver.told.notices.count, 0);

	hub.sub_count = 1;
	fixture_message(&hub, "devices/b1/ota/status", "{\"version\":\"1.0.0\"}", 1);
	fixture_tick(20);
	beacon->via = strdup("hub");
	push(f, beacon);
	fixture_tick(20);
	assert_int_equal(f->gate->deliver.told.notices.count, 1);
	fixture_message(&hub, "devices/b1/ota/status", busy, 1);
	assert_int_equal(f->gate->deliver.told.notices.count, 1);
	fixture_disconnect(&hub, 0);
	assert_int_equal(f->gate->deliver.told.notices.count, 0);
	fixture_free(f);
}

static void test_refused_offers(void **state)
{
	static const struct {
		void (*spoil)(struct change *offer);
		enum report_status status;
		const char *code;
	} rows[] = {
		{ spoil_hardware, REPORT_REJECTED, NULL },
		{ spoil_hardware_unknown, REPORT_REJECTED, NULL },
		{ spoil_fleet, REPORT_REJECTED, NULL },
		{ spoil_sequence, REPORT_REJECTED, NULL },
		{ spoil_current, REPORT_REJECTED, NULL },
		{ spoil_rollout, REPORT_IDLE, "rollout_not_live" },
		{ spoil_release, REPORT_IDLE, "release_unknown" },
		{ spoil_time, REPORT_IDLE, "too_late" },
		{ spoil_device, REPORT_IDLE, "not_connected" },
		{ spoil_device_deaf, REPORT_IDLE, "not_listening" },
	};
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct mosquitto deaf = { .id = "deaf", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&client);
	(void)state;

	fixture_message(&deaf, "devices/deaf/ota/status", report, 1);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct change *offer = new_offer("d1", 4);
		const struct event *event;

		rows[i].spoil(offer);
		fixture_forget(f);
		push(f, offer);
		fixture_tick(50);
		assert_int_equal(fake_publishes(), 0);
		assert_int_equal(fixture_events(f, EVENT_UNDELIVERED), 1);
		event = fixture_last(f, EVENT_UNDELIVERED);
		assert_int_equal(event->status, rows[i].status);
		assert_int_equal(event->attempt, 4);
		assert_string_not_equal(event->text, "");
		if (rows[i].code != NULL) {
			assert_string_equal(event->error, rows[i].code);
		}
	}
	assert_int_equal(f->gate->counters.undelivered, COUNT(rows));

	fixture_forget(f);
	fake_refuse_publish(MOSQ_ERR_NOMEM);
	push(f, new_offer("d1", 1));
	fixture_tick(50);
	assert_string_equal(fixture_last(f, EVENT_UNDELIVERED)->error, "not_sent");
	fake_refuse_publish(MOSQ_ERR_SUCCESS);
	assert_null(told_notice_of(&f->gate->deliver.told, "d1"));
	fixture_free(f);
}

/* A halt or a revocation that is in the queue takes effect before the offers in front of it. */
static void test_halt_overtakes(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&client);
	struct change *gone = change_new(CHANGE_RELEASE_GONE);
	(void)state;

	push(f, new_offer("d1", 1));
	set_live(f, false);
	fixture_tick(20);
	assert_null(fake_publish_on("fleet/north/ota/available"));
	assert_string_equal(fixture_last(f, EVENT_UNDELIVERED)->error, "rollout_not_live");
	assert_string_equal(
		fake_publish_on("$SYS/broker/ota/rollout/17")->payload, "{\"state\":\"halted\"}");
	assert_true(fake_publish_on("$SYS/broker/ota/rollout/17")->retain);

	set_live(f, true);
	push(f, new_offer("d1", 2));
	assert_non_null(gone);
	gone->release_id = RELEASE;
	push(f, gone);
	fixture_tick(50);
	assert_null(fake_publish_on("fleet/north/ota/available"));
	assert_string_equal(fixture_last(f, EVENT_UNDELIVERED)->error, "release_unknown");
	fixture_free(f);
}

static void test_recall_once(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&client);
	(void)state;

	push(f, new_recall("d1"));
	push(f, new_recall("d1"));
	fixture_tick(20);
	push(f, new_recall("d1"));
	fixture_tick(50);
	assert_int_equal(fake_publishes(), 1);
	assert_int_equal(f->gate->counters.recalls_sent, 1);
	fixture_free(f);
}

/* A new notice ends what an earlier recall said: a second halt recalls again, a recall still owed is not sent after it. */
static void test_notice_after_recall(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&client);
	(void)state;

	push(f, new_recall("d1"));
	fixture_tick(50);
	push(f, new_offer("d1", 2));
	fixture_tick(50);
	assert_int_equal(f->gate->counters.notices_sent, 1);
	push(f, new_recall("d1"));
	fixture_tick(50);
	assert_int_equal(f->gate->counters.recalls_sent, 2);
	fixture_free(f);
}

/* Away: it is told when it listens again. */
static void test_recall_owed(void **state)
{
	struct mosquitto client = { .id = "d2", .protocol_version = 4, .clean_session = true };
	struct mosquitto any = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&any);
	(void)state;

	push(f, new_recall("d2"));
	fixture_tick(50);
	assert_int_equal(fake_publishes(), 0);
	fixture_message(&client, "devices/d2/ota/status", report, 1);
	fixture_tick(50);
	assert_int_equal(fake_publishes(), 0);
	fixture_subscribe(&client, "devices/d2/ota/available");
	fixture_tick(50);
	assert_int_equal(fake_publishes(), 1);
	assert_string_equal(fake_publish_at(0)->topic, "devices/d2/ota/available");
	fixture_disconnect(&client, -1);
	client.sub_count = 0;
	fixture_subscribe(&client, "devices/d2/ota/available");
	fixture_tick(50);
	assert_int_equal(fake_publishes(), 1);
	fixture_free(f);
}

static void test_recalls_bounded(void **state)
{
	struct told told = { 0 };
	char device[32];
	(void)state;

	for (int i = 0; i <= TOLD_RECALLS_MAX; i++) {
		snprintf(device, sizeof(device), "d%d", i);
		assert_non_null(told_recall_put(&told, device, 1, "1.0.0", NULL));
	}
	assert_int_equal(HASH_COUNT(told.recalls), TOLD_RECALLS_MAX);
	assert_null(told_recall_of(&told, "d0"));
	assert_non_null(told_recall_of(&told, "d1"));
	assert_non_null(told_recall_of(&told, device));
	told_clear(&told);
	assert_null(told.recalls);
}

/* A kept session came back: its topic was never seen. */
static void test_topic_choice(void **state)
{
	static const struct {
		const char *hint;
		const char *expected;
	} rows[] = {
		{ NULL, "devices/d1/ota/available" },
		{ "fleet/north/ota/available", "fleet/north/ota/available" },
		{ "devices/d1/ota/available", "devices/d1/ota/available" },
		{ "fleet/south/ota/available", "devices/d1/ota/available" },
		{ "devices/d2/ota/available", "devices/d1/ota/available" },
		{ "devices/+/ota/available", "devices/d1/ota/available" },
		{ "devices/d1/ota/status", "devices/d1/ota/available" },
		{ "alarm", "devices/d1/ota/available" },
		{ "", "devices/d1/ota/available" },
	};
	struct mosquitto any = { .id = "d0", .protocol_version = 4, .clean_session = true };
	struct mosquitto kept = { .id = "d1", .protocol_version = 4, .sub_count = 1 };
	struct fixture *f = fixture_ready(&any);
	(void)state;

	fixture_acl(&kept, MOSQ_ACL_WRITE, "a", "x");
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct change *offer = new_offer("d1", (int32_t)i + 1);

		offer->topic = rows[i].hint == NULL ? NULL : strdup(rows[i].hint);
		push(f, offer);
		fixture_tick(50);
		assert_int_equal(fake_publishes(), i + 1);
		assert_string_equal(fake_publish_at(i)->topic, rows[i].expected);
	}
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notice),
		cmocka_unit_test(test_answered_is_forgotten),
		cmocka_unit_test(test_refused_offers),
		cmocka_unit_test(test_halt_overtakes),
		cmocka_unit_test(test_recall_once),
		cmocka_unit_test(test_notice_after_recall),
		cmocka_unit_test(test_recall_owed),
		cmocka_unit_test(test_recalls_bounded),
		cmocka_unit_test(test_topic_choice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
