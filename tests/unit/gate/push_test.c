/* Intercepted pushes: whose, on which topic, what becomes of the message, and where the answer shows. */
#include "ota/gate/push.h"

#include "gate_fixture.h"

static struct control_request *taken;
static enum ota_err take_result;

static enum ota_err take(void *context, struct control_request *request)
{
	(void)context;
	if (take_result == OTA_OK) {
		control_request_free(taken);
		taken = request;
	}
	return take_result;
}

static const char update[] = "{\"version\":\"1.5.0\",\"manifest\":{}}";
static const char fleet_topic[] = "fleet/pumps/ota/available";

static struct fixture *staging(bool modern)
{
	const struct option_pair pairs[] = {
		{ "database", "postgresql:///ota" },
		{ "trusted_keys", "/etc/keys" },
		{ "acl_other_topics", "allow" },
		{ "control_users", "backend" },
		{ "intercept_push", "stage" },
	};
	struct fixture *f = fixture_new(modern);
	struct ota_why why;

	options_free(&f->options);
	assert_int_equal(options_parse(pairs, 5, !modern, &f->options, &why), OTA_OK);
	f->gate->links.command = take;
	taken = NULL;
	take_result = OTA_OK;
	return f;
}

/* Publish as the broker does: asked first, then the message.  Shows what the topic and the retain flag became. */
static int publish(struct mosquitto *client, const char *topic, const char *payload, int qos,
	char shown[64], bool *retain)
{
	struct mosquitto_evt_message message = {
		.client = client,
		.topic = strdup(topic),
		.payload = strdup(payload),
		.payloadlen = (uint32_t)strlen(payload),
		.qos = (uint8_t)qos,
		.retain = true,
	};
	int result = fixture_acl(client, MOSQ_ACL_WRITE, topic, payload);

	if (result == MOSQ_ERR_SUCCESS) {
		result = fake_call(MOSQ_EVT_MESSAGE, &message);
	}
	snprintf(shown, 64, "%s", message.topic);
	*retain = message.retain;
	free(message.topic);
	free(message.payload);
	return result;
}

static void a_push_is_handed_over_and_hidden(void **state)
{
	struct fixture *f = staging(false);
	struct mosquitto client = { .id = "desk", .username = "backend" };
	char shown[64];
	char again[64];
	bool retain = true;

	(void)state;
	assert_int_equal(publish(&client, fleet_topic, update, 1, shown, &retain), MOSQ_ERR_SUCCESS);
	assert_non_null(taken);
	assert_string_equal(taken->client, "desk");
	assert_string_equal(taken->user, "backend");
	assert_string_equal(taken->topic, fleet_topic);
	assert_false(retain);
	assert_int_equal(strlen(shown), strlen(fleet_topic));
	assert_int_equal(shown[0], '$');
	assert_null(strchr(shown, '/'));
	/* A retransmission must look like the same message to the broker. */
	assert_int_equal(publish(&client, fleet_topic, update, 2, again, &retain), MOSQ_ERR_SUCCESS);
	assert_string_equal(again, shown);
	assert_int_equal(f->count, 0);
	control_request_free(taken);
	fixture_free(f);
}

static void only_of_those_who_may(void **state)
{
	struct fixture *f = staging(false);
	struct mosquitto others[] = {
		{ .id = "desk" },
		{ .id = "desk2", .username = "Backend" },
		{ .id = "desk3", .username = "" },
	};
	struct mosquitto backend = { .id = "backend", .username = "backend" };
	char shown[64];
	bool retain;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(
			publish(&others[i], fleet_topic, update, 1, shown, &retain), MOSQ_ERR_ACL_DENIED);
		assert_string_equal(shown, fleet_topic);
	}
	assert_int_equal(publish(&backend, "devices/pump-1/ota/available", update, 1, shown, &retain),
		MOSQ_ERR_ACL_DENIED);
	assert_int_equal(publish(&backend, "fleet/$x/ota/available", update, 1, shown, &retain),
		MOSQ_ERR_ACL_DENIED);
	assert_null(taken);
	assert_int_equal(fixture_events(f, EVENT_DENIED), 5);
	/* Being allowed to push is no right to read. */
	assert_int_equal(
		fixture_acl(&backend, MOSQ_ACL_READ, fleet_topic, update), MOSQ_ERR_ACL_DENIED);
	fixture_free(f);
}

static void a_will_is_no_push(void **state)
{
	struct fixture *f = staging(true);
	struct mosquitto client = { .id = "desk", .username = "backend" };

	(void)state;
	/* 2.1 asks before the CONNECT event. */
	assert_int_equal(
		fixture_acl(&client, MOSQ_ACL_WRITE, fleet_topic, update), MOSQ_ERR_ACL_DENIED);
	fixture_free(f);
}

static void what_is_refused(void **state)
{
	static const struct {
		bool modern;
		int protocol;
		int qos;
		enum ota_err result;
		const char *payload;
		int answer;
		const char *words;
	} cases[] = {
		{ false, 4, 1, OTA_OK, "{", MOSQ_ERR_ACL_DENIED, "cannot be read" },
		{ false, 5, 1, OTA_OK, "", MOSQ_ERR_ACL_DENIED, "cannot be read" },
		{ false, 4, 0, OTA_ERR_UNAVAILABLE, update, MOSQ_ERR_ACL_DENIED, "PostgreSQL is away" },
		{ false, 4, 1, OTA_ERR_UNAVAILABLE, update, MOSQ_ERR_UNKNOWN, "PostgreSQL is away" },
		{ false, 4, 1, OTA_ERR_CONFLICT, update, MOSQ_ERR_UNKNOWN, "PostgreSQL is busy opening" },
		{ false, 5, 1, OTA_ERR_FULL, update, MOSQ_ERR_ACL_DENIED, "cannot be taken now" },
		{ true, 5, 1, OTA_ERR_FULL, update, COMPAT_ERR_QUOTA_EXCEEDED, "cannot be taken now" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *f = staging(cases[i].modern);
		struct mosquitto client = {
			.id = "desk", .username = "backend", .protocol_version = cases[i].protocol
		};
		struct compat_evt_connect connect = { .client = &client };
		char shown[64];
		bool retain;

		if (cases[i].modern) {
			fake_call(COMPAT_EVT_CONNECT, &connect);
		}
		take_result = cases[i].result;
		assert_int_equal(
			publish(&client, fleet_topic, cases[i].payload, cases[i].qos, shown, &retain),
			cases[i].answer);
		assert_null(taken);
		assert_string_equal(shown, fleet_topic);
		assert_non_null(strstr(fixture_last(f, EVENT_DENIED)->text, cases[i].words));
		assert_string_equal(fixture_last(f, EVENT_DENIED)->client, "desk");
		assert_string_equal(fixture_last(f, EVENT_DENIED)->topic, fleet_topic);
		assert_int_equal(fake_log_count("is refused"), 1);
		fixture_free(f);
	}
}

/* No room for the record is no reason to be silent. */
static void a_full_outbox_still_logs(void **state)
{
	struct fixture *f = staging(false);
	struct mosquitto client = { .id = "desk", .username = "backend", .protocol_version = 4 };
	char shown[64];
	bool retain;

	(void)state;
	take_result = OTA_ERR_UNAVAILABLE;
	f->append_result = OTA_ERR_FULL;
	assert_int_equal(publish(&client, fleet_topic, update, 1, shown, &retain), MOSQ_ERR_UNKNOWN);
	assert_int_equal(fixture_events(f, EVENT_DENIED), 0);
	assert_int_equal(fake_log_count("is refused: the update cannot be taken now"), 1);
	f->append_result = OTA_OK;
	fixture_free(f);
}

static void answer(struct fixture *f, const char *reason)
{
	struct change *change = change_new(CHANGE_PUSHED);

	assert_non_null(change);
	change->device = strdup("desk");
	change->topic = strdup(fleet_topic);
	change->text = reason ? strdup(reason) : NULL;
	assert_true(queue_push(f->changes, change));
	fake_forget_publishes();
	fixture_tick(20);
	for (size_t i = 0; i < fake_publishes(); i++) {
		assert_null(fake_publish_at(i)->client_id); /* the back end is sent nothing */
	}
}

static void answers_are_for_the_record(void **state)
{
	struct fixture *f = staging(false);

	(void)state;
	answer(f, NULL);
	assert_int_equal(
		fake_log_count("client desk published to fleet/pumps/ota/available is taken"), 1);
	assert_int_equal(f->count, 0);
	answer(f, "version \"1\nota: all is well\" is not one");
	assert_string_equal(fixture_last(f, EVENT_DENIED)->topic, fleet_topic);
	assert_int_equal(fake_log_count("1?ota: all is well"), 1); /* one line of the log */
	answer(f,
		"\x7f\xc2\x9b"
		"31mred\xe2\x80\xa8 \x9b.");
	assert_int_equal(fake_log_count("is refused: ??31mred? ?."), 1); /* and changes no terminal */
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_push_is_handed_over_and_hidden),
		cmocka_unit_test(only_of_those_who_may),
		cmocka_unit_test(a_will_is_no_push),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(a_full_outbox_still_logs),
		cmocka_unit_test(answers_are_for_the_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
