/* Who may command, what is handed over, and where answers go. */
#include "ota/wire/control.h"

#include "gate_fixture.h"

static struct control_request *taken;
static enum ota_err take_result;

static enum ota_err take(void *context, struct control_request *request)
{
	(void)context;
	if (take_result == OTA_OK) {
		taken = request;
	}
	return take_result;
}

static struct fixture *office(const char *users)
{
	struct fixture *f = fixture_new_with(false, users ? "control_users" : NULL, users);

	f->gate->links.command = take;
	taken = NULL;
	take_result = OTA_OK;
	return f;
}

static void command(struct mosquitto *client, const char *payload)
{
	struct mosquitto_evt_control control = {
		.client = client,
		.topic = CONTROL_TOPIC,
		.payload = payload[0] ? payload : NULL,
		.payloadlen = (uint32_t)strlen(payload),
	};

	fake_forget_publishes();
	assert_int_equal(fake_call(MOSQ_EVT_CONTROL, &control), MOSQ_ERR_SUCCESS);
}

/* The one answer, which went to this client only. */
static const char *answer(const char *client_id)
{
	const struct fake_publish *publish = fake_publish_on(CONTROL_RESPONSE_TOPIC);

	assert_int_equal(fake_publishes(), 1);
	assert_non_null(publish);
	assert_string_equal(publish->client_id, client_id);
	assert_int_equal(publish->qos, 1);
	assert_false(publish->retain);
	return publish->payload;
}

static const char status[] = "{\"commands\":[{\"command\":\"status\",\"correlationData\":\"7\"}]}";

static void test_operators_are_heard(void **state)
{
	struct fixture *f = office("alice bob");
	struct mosquitto client = { .id = "desk", .username = "bob" };

	(void)state;
	command(&client, status);
	assert_int_equal(fake_publishes(), 0);
	assert_non_null(taken);
	assert_string_equal(taken->client, "desk");
	assert_string_equal(taken->user, "bob");
	assert_int_equal(taken->count, 1);
	assert_string_equal(taken->commands[0].correlation, "7");
	assert_int_equal(f->count, 0);
	control_request_free(taken);
	fixture_free(f);
}

static void test_others_are_refused(void **state)
{
	static const struct {
		const char *users;
		const char *user;
		const char *words;
	} cases[] = {
		{ "alice bob", "mallory", "not in plugin_opt_control_users" },
		{ "alice bob", "Alice", "not in plugin_opt_control_users" },
		{ "alice bob", "ali", "not in plugin_opt_control_users" },
		{ "alice bob", "", "not in plugin_opt_control_users" },
		{ "alice bob", NULL, "not in plugin_opt_control_users" },
		{ NULL, "alice", "names nobody" },
		{ NULL, NULL, "names nobody" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *f = office(cases[i].users);
		struct mosquitto client = { .id = "desk", .username = cases[i].user };

		command(&client, status);
		assert_null(taken);
		assert_non_null(strstr(answer("desk"), cases[i].words));
		assert_int_equal(f->count, 1);
		assert_int_equal(f->events[0].kind, EVENT_DENIED);
		assert_string_equal(f->events[0].topic, CONTROL_TOPIC);
		fixture_free(f);
	}
}

static void test_what_is_no_command(void **state)
{
	struct fixture *f = office("alice");
	struct mosquitto client = { .id = "desk", .username = "alice" };

	(void)state;
	command(&client, "");
	assert_non_null(strstr(answer("desk"), "cannot be read"));
	command(&client, "{\"commands\":[]}");
	assert_non_null(strstr(answer("desk"), "accepted are 1 to 32"));
	assert_null(taken);
	assert_int_equal(f->count, 0);
	fixture_free(f);
}

static void test_what_cannot_be_taken(void **state)
{
	struct fixture *f = office("alice");
	struct mosquitto client = { .id = "desk", .username = "alice" };

	(void)state;
	take_result = OTA_ERR_UNAVAILABLE;
	command(&client, status);
	assert_non_null(strstr(answer("desk"), "PostgreSQL is away"));
	assert_non_null(strstr(answer("desk"), "\"correlationData\":\"7\""));
	take_result = OTA_ERR_CONFLICT;
	command(&client, status);
	assert_non_null(strstr(answer("desk"), "PostgreSQL is busy opening a stage"));
	take_result = OTA_ERR_FULL;
	command(&client, status);
	assert_non_null(strstr(answer("desk"), "try again in a moment"));
	f->gate->links.command = NULL;
	command(&client, status);
	assert_non_null(strstr(answer("desk"), "away"));
	fixture_free(f);
}

static void test_answers_find_their_client(void **state)
{
	struct fixture *f = office("alice");
	struct change *change = change_new(CHANGE_RESPONSE);

	(void)state;
	assert_non_null(change);
	change->device = strdup("desk");
	change->text = strdup("{\"responses\":[]}");
	assert_true(queue_push(f->changes, change));
	fake_forget_publishes();
	fixture_mono_us += 20000;
	gate_work(f->gate);
	assert_non_null(fake_publish_on(CONTROL_RESPONSE_TOPIC));
	assert_string_equal(fake_publish_on(CONTROL_RESPONSE_TOPIC)->client_id, "desk");
	assert_string_equal(fake_publish_on(CONTROL_RESPONSE_TOPIC)->payload, "{\"responses\":[]}");
	/* A broker that does not take it. */
	fake_refuse_publish(MOSQ_ERR_NOMEM);
	change = change_new(CHANGE_RESPONSE);
	assert_non_null(change);
	change->device = strdup("desk");
	change->text = strdup("{}");
	assert_true(queue_push(f->changes, change));
	fixture_mono_us += 20000;
	gate_work(f->gate);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operators_are_heard),
		cmocka_unit_test(test_others_are_refused),
		cmocka_unit_test(test_what_is_no_command),
		cmocka_unit_test(test_what_cannot_be_taken),
		cmocka_unit_test(test_answers_find_their_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
