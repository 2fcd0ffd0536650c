/* Token buckets, buckets of those who went away, and the limit on reports with what each version of MQTT sees of it. */
#include <malloc.h>

#include "ota/base/keyhash.h"
#include "ota/wire/status.h"

#include "gate_fixture.h"

static const struct limit_rule rule = { .burst = 10, .per_minute = 60 };

static int taken(struct limit *limit, int64_t now_ms)
{
	int count = 0;

	while (limit_take(limit, &rule, now_ms)) {
		count++;
	}
	return count;
}

static void a_bucket_fills_with_time(void **state)
{
	struct limit limit = { 0 };

	(void)state;
	assert_int_equal(taken(&limit, 5000), 10);
	assert_int_equal(taken(&limit, 5000), 0);
	assert_int_equal(taken(&limit, 5999), 0);
	assert_int_equal(taken(&limit, 6000), 1);
	assert_int_equal(taken(&limit, 11000), 5);
	assert_int_equal(taken(&limit, 11000 + 3600000), 10);
	assert_int_equal(taken(&limit, INT64_MAX / 2), 10);
	assert_int_equal(taken(&limit, 1), 10); /* a clock that went back */
	/* Looking often costs nothing. */
	for (int i = 2; i <= 1001; i++) {
		assert_int_equal(limit_take(&limit, &rule, i), i == 1001);
	}
}

static void leaving_fills_none(void **state)
{
	static struct limit_kept kept;
	struct limit limit = { 0 };
	struct limit other;

	(void)state;
	assert_int_equal(taken(&limit, 5000), 10);
	limit_keep(&kept, keyhash("dev-1", 5), &limit);
	limit_again(&kept, keyhash("dev-2", 5), &other);
	assert_int_equal(taken(&other, 5000), 10);
	limit_again(&kept, keyhash("dev-1", 5), &other);
	assert_int_equal(taken(&other, 5000), 0);
	limit_again(&kept, keyhash("dev-1", 5), &other); /* handed back only once */
	assert_int_equal(taken(&other, 5000), 10);
	/* A hash of 0 is a name, too; nothing has been kept of it yet. */
	limit_again(&kept, 0, &other);
	assert_int_equal(taken(&other, 5000), 10);
	limit_keep(&kept, 0, &limit);
	limit_again(&kept, 0, &other);
	assert_int_equal(taken(&other, 5000), 0);
}

static const char topic[] = "devices/dev-1/ota/status";
static const char report[] = "{\"version\":\"1.0.0\"}";

static void too_many_are_refused(void **state)
{
	static const struct {
		bool modern;
		int protocol;
		int qos;
		int answer;
	} cases[] = {
		{ false, 4, 0, MOSQ_ERR_ACL_DENIED }, /* dropped; nobody waits for an answer */
		{ false, 4, 1, MOSQ_ERR_UNKNOWN },    /* the connection ends before the PUBACK */
		{ false, 4, 2, MOSQ_ERR_UNKNOWN }, { false, 5, 1, MOSQ_ERR_ACL_DENIED }, /* PUBACK 0x87 */
		{ true, 4, 1, MOSQ_ERR_UNKNOWN },
		{ true, 5, 1, COMPAT_ERR_QUOTA_EXCEEDED }, /* PUBACK 0x97 */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *f = fixture_new_with(cases[i].modern, "reports_per_minute", "10");
		struct mosquitto client = {
			.id = "dev-1", .clean_session = true, .protocol_version = cases[i].protocol
		};

		for (int n = 0; n < 20; n++) {
			assert_int_equal(
				fixture_message(&client, topic, report, cases[i].qos), MOSQ_ERR_SUCCESS);
		}
		assert_int_equal(fixture_events(f, EVENT_REPORT), 20);
		assert_int_equal(fixture_message(&client, topic, report, cases[i].qos), cases[i].answer);
		assert_int_equal(fixture_message(&client, topic, "{", cases[i].qos), cases[i].answer);
		assert_int_equal(fixture_events(f, EVENT_REPORT), 20);
		assert_int_equal(f->gate->counters.reports_limited, 2);
		assert_string_equal(fixture_last(f, EVENT_DENIED)->text,
			"more than 10 reports a minute (reports_per_minute)");
		/* Another one is not touched by it; coming back is no way around. */
		struct mosquitto next = client;
		struct mosquitto other = { .id = "dev-2", .clean_session = true };

		assert_int_equal(
			fixture_message(&other, "devices/dev-2/ota/status", report, 1), MOSQ_ERR_SUCCESS);
		fixture_disconnect(&client, 0);
		assert_int_equal(fixture_message(&next, topic, report, cases[i].qos), cases[i].answer);
		fixture_mono_us += 6000000;
		assert_int_equal(fixture_message(&next, topic, report, cases[i].qos), MOSQ_ERR_SUCCESS);
		assert_int_equal(fixture_message(&next, topic, report, cases[i].qos), cases[i].answer);
		fixture_free(f);
	}
}

static void zero_is_no_limit(void **state)
{
	struct fixture *f = fixture_new_with(false, "reports_per_minute", "0");
	struct mosquitto client = { .id = "dev-1" };

	(void)state;
	for (int n = 0; n < 8000; n++) {
		assert_int_equal(fixture_message(&client, topic, report, 1), MOSQ_ERR_SUCCESS);
	}
	fixture_free(f);
}

static void each_device_of_a_gateway_has_its_own(void **state)
{
	struct fixture *f = fixture_new_with(false, "reports_per_minute", "10");
	struct mosquitto hub = { .id = "hub", .protocol_version = 5, .clean_session = true };
	struct change *change = change_new(CHANGE_GATEWAYS);
	char name[64];

	(void)state;
	change->text = strdup("hub");
	assert_true(queue_push(f->changes, change));
	fixture_tick(20);
	for (int n = 0; n < 1000; n++) { /* after a reconnect it brings them all at once */
		snprintf(name, sizeof(name), "devices/b-%d/ota/status", n);
		assert_int_equal(fixture_message(&hub, name, report, 1), MOSQ_ERR_SUCCESS);
	}
	for (int n = 0; n < 20; n++) {
		assert_int_equal(
			fixture_message(&hub, "devices/b-1/ota/status", report, 1), MOSQ_ERR_SUCCESS);
	}
	assert_int_equal(
		fixture_message(&hub, "devices/b-1/ota/status", report, 1), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_message(&hub, "devices/b-2/ota/status", report, 1), MOSQ_ERR_SUCCESS);
	/* The gateway comes back: what it says first of each device is free, and the bucket is as it was. */
	fixture_disconnect(&hub, 0);
	assert_int_equal(fixture_message(&hub, "devices/b-1/ota/status", report, 1), MOSQ_ERR_SUCCESS);
	assert_int_equal(
		fixture_message(&hub, "devices/b-1/ota/status", report, 1), MOSQ_ERR_ACL_DENIED);
	/* What is no report makes nobody a device, and is the gateway's own. */
	for (int n = 0; n < 20; n++) {
		snprintf(name, sizeof(name), "devices/c-%d/ota/status", n);
		assert_int_equal(fixture_message(&hub, name, "{", 1), MOSQ_ERR_SUCCESS);
	}
	assert_int_equal(fixture_message(&hub, "devices/d/ota/status", "{", 1), MOSQ_ERR_ACL_DENIED);
	fixture_free(f);
}

/* Whoever comes, reports, subscribes, is refused and goes: nothing of it stays, however many there were. */
static void strangers_leave_nothing_behind(void **state)
{
	struct fixture *f = fixture_new(false);
	size_t before = 0;

	(void)state;
	for (int n = 0; n < 50000; n++) {
		char id[32];
		char own[64];
		struct mosquitto client = { .id = id, .clean_session = true };

		snprintf(id, sizeof(id), "stranger-%d", n);
		snprintf(own, sizeof(own), "devices/%s/ota/status", id);
		assert_int_equal(fixture_message(&client, own, report, 1), MOSQ_ERR_SUCCESS);
		assert_int_equal(
			fixture_subscribe(&client, "fleet/default/ota/available"), MOSQ_ERR_SUCCESS);
		assert_int_equal(fixture_acl(&client, MOSQ_ACL_WRITE, topic, report), MOSQ_ERR_ACL_DENIED);
		fixture_tick(20);
		fixture_disconnect(&client, 0);
		fixture_forget(f);
		fake_forget_publishes();
		if (n == 1000) {
			before = mallinfo2().uordblks;
		}
	}
	assert_int_equal(f->gate->sessions.by_client.count, 0);
	assert_int_equal(f->gate->sessions.by_device.count, 0);
	assert_null(f->gate->via.children);
	assert_int_equal(f->gate->sessions.connected, 0);
	assert_true(mallinfo2().uordblks <= before + 4096);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bucket_fills_with_time),
		cmocka_unit_test(leaving_fills_none),
		cmocka_unit_test(too_many_are_refused),
		cmocka_unit_test(zero_is_no_limit),
		cmocka_unit_test(each_device_of_a_gateway_has_its_own),
		cmocka_unit_test(strangers_leave_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
