/* The policy: every row of who may do what with which topic, as the broker gets it answered. */
#include "ota/base/keyhash.h"

#include "gate_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
	R = MOSQ_ACL_READ,
	W = MOSQ_ACL_WRITE,
	S = MOSQ_ACL_SUBSCRIBE,
	U = MOSQ_ACL_UNSUBSCRIBE
};
enum {
	OTHERS,
	ALLOW,
	DENY
};

/* The client is always d1. */
static const struct {
	const char *topic;
	int access;
	int expected;
} rows[] = {
	/* topics of others, also those that begin like ours */
	{ "sensors/1/temperature", R, OTHERS },
	{ "sensors/1/temperature", W, OTHERS },
	{ "sensors/#", S, OTHERS },
	{ "sensors/#", U, OTHERS },
	{ "devices/d1/state", W, OTHERS },
	{ "devices/d1", W, OTHERS },
	{ "devices/", W, OTHERS },
	{ "devices", W, OTHERS },
	{ "device", W, OTHERS },
	{ "", W, OTHERS },
	{ "devices/d1/", W, OTHERS },
	{ "devices/d1/o", W, OTHERS },
	{ "devices/d1/ota", W, OTHERS },
	{ "devices/d1/ota/statu", W, OTHERS },
	{ "devices/d1/ota/available2", W, OTHERS },
	{ "d", W, OTHERS },
	{ "fleet/f/ota/availabl", W, OTHERS },
	{ "fleet/f/ota/available/x", W, OTHERS },
	{ "devices/d1/x/ota/status", W, OTHERS },
	{ "devices/d1/ota/status/x", W, OTHERS },
	{ "/devices/d1/ota/status", W, OTHERS },
	{ "#", S, OTHERS },
	{ "+", S, OTHERS },
	{ "$SYS/#", S, OTHERS },
	{ "$SYS/broker/ota/denied", R, OTHERS },
	/* status topics: for oneself only; who may read them is the operator's business */
	{ "devices/d1/ota/status", W, ALLOW },
	{ "devices/d2/ota/status", W, DENY },
	{ "devices/d10/ota/status", W, DENY },
	{ "devices/d/ota/status", W, DENY },
	{ "devices//ota/status", W, DENY },
	{ "devices/$d1/ota/status", W, DENY },
	{ "devices/d1/ota/status", R, OTHERS },
	{ "devices/d2/ota/status", R, OTHERS },
	{ "devices/d1/ota/status", S, OTHERS },
	{ "devices/+/ota/status", S, OTHERS },
	/* notify topics: written by the broker only, and read by whom it was directed to */
	{ "devices/d1/ota/available", W, DENY },
	{ "devices/d2/ota/available", W, DENY },
	{ "devices//ota/available", W, DENY },
	{ "fleet/f/ota/available", W, DENY },
	{ "fleet/$x/ota/available", W, DENY },
	{ "devices/d1/ota/available", R, DENY },
	{ "devices/d2/ota/available", R, DENY },
	{ "fleet/f/ota/available", R, DENY },
	{ "devices/d1/ota/available", S, ALLOW },
	{ "devices/d1/ota/available", U, ALLOW },
	{ "fleet/f/ota/available", S, ALLOW },
	{ "fleet/f/ota/available", U, ALLOW },
	{ "devices/d2/ota/available", S, OTHERS },
	{ "devices/d2/ota/available", U, OTHERS },
	{ "devices/+/ota/available", S, OTHERS },
	{ "devices/#", S, OTHERS },
	{ "fleet/+/ota/available", S, OTHERS },
	{ "+/d1/ota/available", S, OTHERS },
	{ "$share/g/devices/d1/ota/available", S, OTHERS },
};

static void check_rows(struct fixture *f, int others)
{
	const int answers[] = { others, MOSQ_ERR_SUCCESS, MOSQ_ERR_ACL_DENIED };
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	size_t denied = 0;

	for (size_t i = 0; i < COUNT(rows); i++) {
		int answer = fixture_acl(&client, rows[i].access, rows[i].topic,
			rows[i].access == R || rows[i].access == W ? "{\"rollout\":1,\"attempt\":1}" : NULL);

		if (answer != answers[rows[i].expected]) {
			fail_msg("access %d to %s: answer %d", rows[i].access, rows[i].topic, answer);
		}
		denied += rows[i].expected == DENY ? 1 : 0;
	}
	assert_int_equal(f->gate->counters.denied, denied);
	assert_int_equal(fixture_events(f, EVENT_DENIED), denied);
	assert_string_equal(fixture_last(f, EVENT_DENIED)->device, "d1");
	fixture_free(f);
}

static void test_rows_allow(void **state)
{
	(void)state;
	check_rows(fixture_new(false), MOSQ_ERR_SUCCESS);
}

static void test_rows_modern(void **state)
{
	(void)state;
	check_rows(fixture_new(true), COMPAT_ERR_PLUGIN_IGNORE);
}

static void test_defer(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1" };
	struct gate_links links = f->gate->links;
	struct gate *gate = NULL;
	struct ota_why why = { "" };
	(void)state;

	gate_stop(f->gate);
	f->gate = NULL;
	f->options.acl_other_topics = ACL_OTHER_UNSET;
	assert_int_equal(gate_start(NULL, &f->options, &links, false, &gate, &why), OTA_ERR_INVALID);
	assert_non_null(strstr(why.text, "acl_other_topics"));
	assert_int_equal(fake_callbacks(), 0);
	f->options.acl_other_topics = ACL_OTHER_DEFER;
	assert_int_equal(gate_start(NULL, &f->options, &links, false, &f->gate, &why), OTA_OK);
	assert_int_equal(fixture_acl(&client, W, "a/b", "x"), MOSQ_ERR_PLUGIN_DEFER);
	assert_int_equal(fixture_acl(&client, S, "#", NULL), MOSQ_ERR_PLUGIN_DEFER);
	assert_int_equal(fixture_acl(&client, R, "devices/d1/ota/status", "x"), MOSQ_ERR_PLUGIN_DEFER);
	fixture_free(f);
}

/* Messages of bridges come without an access check, so the same rules stand there. */
static void test_message_again(void **state)
{
	static const struct {
		const char *topic;
		int expected;
	} messages[] = {
		{ "sensors/1", MOSQ_ERR_SUCCESS },
		{ "devices/d1/ota/status", MOSQ_ERR_SUCCESS },
		{ "devices/d2/ota/status", MOSQ_ERR_ACL_DENIED },
		{ "devices//ota/status", MOSQ_ERR_ACL_DENIED },
		{ "devices/d1/ota/available", MOSQ_ERR_ACL_DENIED },
		{ "fleet/f/ota/available", MOSQ_ERR_ACL_DENIED },
	};
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	(void)state;

	for (size_t i = 0; i < COUNT(messages); i++) {
		assert_int_equal(fixture_message(&client, messages[i].topic, "{\"version\":\"1.0.0\"}", 1),
			messages[i].expected);
	}
	assert_int_equal(fixture_events(f, EVENT_REPORT), 1);
	assert_int_equal(fixture_events(f, EVENT_DENIED), 4);
	fixture_free(f);
}

static void test_identity_username(void **state)
{
	struct fixture *f = fixture_new_with(false, "device_identity", "username");
	struct mosquitto named = { .id = "c1", .username = "d1", .protocol_version = 4 };
	struct mosquitto nameless = { .id = "d1", .username = NULL, .protocol_version = 4 };
	struct mosquitto strange = { .id = "d1", .username = "d/1", .protocol_version = 4 };
	(void)state;

	assert_int_equal(fixture_acl(&named, W, "devices/d1/ota/status", "{}"), MOSQ_ERR_SUCCESS);
	assert_int_equal(fixture_acl(&named, W, "devices/c1/ota/status", "{}"), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_acl(&nameless, W, "devices/d1/ota/status", "{}"), MOSQ_ERR_ACL_DENIED);
	/* not even the shape of a status topic */
	assert_int_equal(fixture_acl(&strange, W, "devices/d/1/ota/status", "{}"), MOSQ_ERR_SUCCESS);
	assert_int_equal(
		fixture_message(&strange, "devices/d1/ota/status", "{}", 0), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_message(&named, "devices/d1/ota/status", "{\"version\":\"1.0.0\"}", 1),
		MOSQ_ERR_SUCCESS);
	assert_string_equal(fixture_last(f, EVENT_REPORT)->device, "d1");
	assert_string_equal(fixture_last(f, EVENT_REPORT)->client, "c1");
	fixture_free(f);
}

/* A client id that cannot be a device's never becomes one, whatever it does. */
static void test_identity_invalid(void **state)
{
	static const char *const ids[] = { "a+b", "a#", "$a", "", "a\x01" };
	struct fixture *f = fixture_new(false);
	(void)state;

	for (size_t i = 0; i < COUNT(ids); i++) {
		struct mosquitto client = { .id = ids[i], .protocol_version = 4 };

		assert_int_equal(fixture_subscribe(&client, "fleet/f/ota/available"), MOSQ_ERR_SUCCESS);
		client.sub_count = 1;
		fixture_tick(20);
		fixture_disconnect(&client, 0);
	}
	assert_int_equal(f->count, 0);
	fixture_free(f);
}

/* Ids of others that share no bucket with this client; where they stand is another place in each process. */
static void other_id(char id[24], const char *client, int *n)
{
	const uint64_t place = keyhash(client, strlen(client)) % GATE_LIMITS;

	do {
		snprintf(id, 24, "quiet-%d", (*n)++);
	} while (keyhash(id, strlen(id)) % GATE_LIMITS == place);
}

static void test_rate_limit(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	char first[24];
	int n = 0;
	(void)state;

	for (int i = 0; i < 1000; i++) {
		assert_int_equal(
			fixture_acl(&client, W, "devices/d2/ota/status", "{}"), MOSQ_ERR_ACL_DENIED);
	}
	assert_int_equal(fixture_events(f, EVENT_DENIED), 20);
	assert_int_equal(f->gate->counters.denied, 1000);
	assert_string_equal(fixture_last(f, EVENT_DENIED)->text, "a client may report for itself only");

	/* Others are seen through the flood, up to what all of them may record together. */
	for (int i = 0; i < 300; i++) {
		char id[24];
		struct mosquitto other = { .id = id, .protocol_version = 4 };

		other_id(id, "d1", &n);
		fixture_acl(&other, W, "devices/d2/ota/status", "{}");
		if (i == 0) {
			memcpy(first, id, sizeof(first));
		}
	}
	assert_int_equal(fixture_events(f, EVENT_DENIED), 50);
	assert_string_equal(f->events[20].client, first);
	assert_null(strstr(f->events[20].text, "more refusals"));

	fixture_mono_us += 1000000; /* two more a second */
	for (int i = 0; i < 20; i++) {
		fixture_acl(&client, W, "devices/d2/ota/status", "{}");
	}
	assert_int_equal(fixture_events(f, EVENT_DENIED), 52);
	assert_non_null(strstr(f->events[50].text, "and 980 more refusals"));
	assert_null(strstr(f->events[51].text, "more refusals"));

	fixture_mono_us += 500000;
	fixture_message(&client, "devices/d1/ota/status", "{", 0);
	assert_int_equal(fixture_events(f, EVENT_MALFORMED), 1);
	assert_non_null(strstr(fixture_last(f, EVENT_MALFORMED)->text, "and 18 more refusals"));
	fixture_free(f);
}

/* Somebody takes ids that share a bucket in a table without a key (FNV-1a) and floods with them: others are not hidden by it. */
static void test_chosen_ids_share_no_bucket(void **state)
{
	struct fixture *f = fixture_new(false);
	size_t used = 0;
	int found = 0;
	(void)state;

	for (int i = 0; found < 256; i++) {
		char id[16];
		struct mosquitto client = { .id = id, .protocol_version = 4 };
		uint32_t hash = 2166136261U;

		snprintf(id, sizeof(id), "dev-%d", i);
		for (const char *at = id; *at != '\0'; at++) {
			hash = (hash ^ (unsigned char)*at) * 16777619U;
		}
		if ((hash ^ hash >> 16) % 256 == 0) {
			fixture_acl(&client, W, "devices/d2/ota/status", "{}");
			found++;
		}
	}
	for (size_t i = 0; i < GATE_LIMITS; i++) {
		used += f->gate->refusals[i].limit.filled_ms != 0;
	}
	assert_in_range(used, 128, 256);
	fixture_free(f);
}

/* Names as long as MQTT allows are recorded by their beginning, cut between characters. */
static void test_long_names(void **state)
{
	static char id[60001];
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = id, .protocol_version = 4 };
	(void)state;

	for (size_t i = 0; i + 3 <= sizeof(id) - 1; i += 3) {
		memcpy(id + i, "\xE2\x82\xAC", 4);
	}
	assert_int_equal(fixture_acl(&client, W, "devices/d2/ota/status", "{}"), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(strlen(fixture_last(f, EVENT_DENIED)->client), 510);
	assert_true(topic_utf8_valid(fixture_last(f, EVENT_DENIED)->client, 510));
	/* Of the other names, and of each length around the longest one that is recorded whole. */
	for (size_t length = 400; length < 600; length++) {
		char topic[1024];
		const struct event *event;

		memset(id, 'x', length);
		id[length] = '\0';
		snprintf(topic, sizeof(topic), "devices/%.600s/ota/status", id);
		fixture_mono_us += 60000000;
		assert_int_equal(fixture_acl(&client, W, topic, "{}"), MOSQ_ERR_ACL_DENIED);
		event = fixture_last(f, EVENT_DENIED);
		assert_int_equal(strlen(event->client), length < 511 ? length : 511);
		assert_int_equal(strlen(event->device), length < 511 ? length : 511);
		assert_int_equal(strlen(event->topic), strlen(topic) < 511 ? strlen(topic) : 511);
		assert_int_equal(strncmp(topic, event->topic, 511), 0);
	}
	fixture_free(f);
}

/* Other shapes of templates: empty prefix, empty suffix, a prefix longer than the first look, one letter. */
static void test_other_templates(void **state)
{
	static const struct {
		const char *key;
		const char *value;
		const char *topic;
		int expected;
	} topics[] = {
		{ "status_topic", "{device}/status", "d1/status", MOSQ_ERR_SUCCESS },
		{ "status_topic", "{device}/status", "d2/status", MOSQ_ERR_ACL_DENIED },
		{ "status_topic", "{device}/status", "d1/statu", MOSQ_ERR_PLUGIN_DEFER },
		{ "status_topic", "{device}/status", "d1", MOSQ_ERR_PLUGIN_DEFER },
		{ "status_topic", "{device}/status", "", MOSQ_ERR_PLUGIN_DEFER },
		{ "status_topic", "{device}/status", "$SYS/status", MOSQ_ERR_PLUGIN_DEFER },
		{ "status_topic", "s/{device}", "s/d1", MOSQ_ERR_SUCCESS },
		{ "status_topic", "s/{device}", "s/d2", MOSQ_ERR_ACL_DENIED },
		{ "status_topic", "s/{device}", "s/d1/x", MOSQ_ERR_PLUGIN_DEFER },
		{ "status_topic", "s/{device}", "s/", MOSQ_ERR_ACL_DENIED },
		{ "status_topic", "{device}", "d1", MOSQ_ERR_SUCCESS },
		{ "status_topic", "{device}", "d2", MOSQ_ERR_ACL_DENIED },
		{ "status_topic", "{device}", "d1/x", MOSQ_ERR_PLUGIN_DEFER },
		{ "status_topic", "s/{device}", "s", MOSQ_ERR_PLUGIN_DEFER },
		{ "status_topic", "company/site/{device}/status", "company/site/d1/status",
			MOSQ_ERR_SUCCESS },
		{ "status_topic", "company/site/{device}/status", "company/site/d2/status",
			MOSQ_ERR_ACL_DENIED },
		{ "status_topic", "company/site/{device}/status", "company/", MOSQ_ERR_PLUGIN_DEFER },
		{ "status_topic", "company/site/{device}/status", "company/s", MOSQ_ERR_PLUGIN_DEFER },
		{ "status_topic", "company/site/{device}/status", "company/sits/d1/status",
			MOSQ_ERR_PLUGIN_DEFER },
		{ "notify_topics", "{fleet}/n", "x/n", MOSQ_ERR_ACL_DENIED },
		{ "notify_topics", "{fleet}/n", "/n", MOSQ_ERR_ACL_DENIED },
		{ "notify_topics", "{fleet}/n", "n", MOSQ_ERR_PLUGIN_DEFER },
	};
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	(void)state;

	for (size_t i = 0; i < COUNT(topics); i++) {
		struct fixture *f = fixture_new_with(false, topics[i].key, topics[i].value);
		/* On the heap, exactly as long as it is: nothing may be read behind its end. */
		char *topic = strdup(topics[i].topic);
		int answer;

		f->gate->others = MOSQ_ERR_PLUGIN_DEFER;
		answer = fixture_acl(&client, W, topic, "{}");
		if (answer != topics[i].expected) {
			fail_msg("%s with %s: answer %d", topic, topics[i].value, answer);
		}
		free(topic);
		fixture_free(f);
	}
}

/* What stands in the placeholder's place and is no id is not handed on: whoever copies it need not ask how long it is. */
static void test_no_id_no_value(void **state)
{
	struct fixture *f = fixture_new(false);
	struct policy_topic topic;
	char longest[2 * TOPIC_ID_MAX + 32];
	(void)state;

	snprintf(longest, sizeof(longest), "devices/%0*d/ota/status", 2 * TOPIC_ID_MAX, 1);
	policy_sort(&f->gate->policy, longest, policy_candidates(&f->gate->policy, longest), &topic);
	assert_int_equal(topic.subject, POLICY_STATUS);
	assert_false(topic.exact);
	assert_int_equal(topic.value.length, 0);
	policy_sort(&f->gate->policy, "devices/d1/ota/status",
		policy_candidates(&f->gate->policy, "devices/d1/ota/status"), &topic);
	assert_true(topic.exact);
	assert_int_equal(topic.value.length, 2);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_allow),
		cmocka_unit_test(test_rows_modern),
		cmocka_unit_test(test_defer),
		cmocka_unit_test(test_other_templates),
		cmocka_unit_test(test_message_again),
		cmocka_unit_test(test_identity_username),
		cmocka_unit_test(test_identity_invalid),
		cmocka_unit_test(test_rate_limit),
		cmocka_unit_test(test_chosen_ids_share_no_bucket),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_no_id_no_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
