/* Without the database: who is told once more what it was told before, and who is not. */
#include "deliver_fixture.h"

static const char report[] = "{\"version\":\"1.0.0\"}";
static const char topic[] = "fleet/north/ota/available";

enum {
	HOUR_MS = 3600000
};

static void database(struct fixture *f, bool there, int64_t serve_ms)
{
	struct change *change = change_new(CHANGE_DATABASE);

	assert_non_null(change);
	change->live = there;
	change->text = strdup("{}");
	change->since_ms = serve_ms > 0 ? fixture_wall_ms : 0;
	change->until_ms = serve_ms > 0 ? fixture_wall_ms + serve_ms : 0;
	push(f, change);
}

/* As after a start without the database, with one device that was told before. */
static struct fixture *restarted(int64_t serve_ms)
{
	struct fixture *f = fixture_new(false);
	struct change *change = new_offer("d1", 3);

	change->kind = CHANGE_CLAIM;
	give_release(f);
	set_live(f, true);
	database(f, false, serve_ms);
	push(f, change);
	fixture_tick(20);
	fake_forget_publishes();
	return f;
}

static void back(struct fixture *f, struct mosquitto *client)
{
	fixture_subscribe(client, topic);
	fixture_tick(20);
	fixture_forget(f);
	fake_forget_publishes();
}

static void later(struct fixture *f, int64_t ms)
{
	(void)f;
	fixture_wall_ms += ms;
	fixture_tick(ms);
	fixture_tick(20);
}

static void test_told_again_once(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct mosquitto other = { .id = "d2", .protocol_version = 4, .clean_session = true };
	struct fixture *f = restarted(HOUR_MS);
	const struct event *told;
	char *copy;
	(void)state;

	back(f, &client);
	back(f, &other);
	later(f, AGAIN_AFTER_MS - 1000);
	assert_null(fake_publish_on(topic));
	later(f, 2000);
	assert_non_null(fake_publish_on(topic));
	assert_string_equal(fake_publish_on(topic)->client_id, "d1");
	assert_non_null(strstr(fake_publish_on(topic)->payload, "\"attempt\":3"));
	told = fixture_last(f, EVENT_TOLD);
	assert_string_equal(told->device, "d1");
	assert_int_equal(told->rollout, ROLLOUT);
	assert_int_equal(told->attempt, 3);
	assert_int_equal(told->session, sessions_of_device(&f->gate->sessions, "d1")->number);
	assert_int_equal(fixture_events(f, EVENT_TOLD), 1);
	assert_int_equal(fixture_events(f, EVENT_UNDELIVERED), 0);
	copy = strdup(fake_publish_on(topic)->payload);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_SUCCESS);

	/* The database is back and hands out the same: the copy on its way counts. */
	fake_forget_publishes();
	database(f, true, 0);
	push(f, new_offer("d1", 3));
	later(f, 100);
	assert_null(fake_publish_on(topic));
	/* Away again, and the device comes back again: told once, and the claim of this start is used up. */
	database(f, false, HOUR_MS);
	fixture_disconnect(&client, 0);
	client.sub_count = 0;
	back(f, &client);
	later(f, AGAIN_AFTER_MS + 1000);
	assert_null(fake_publish_on(topic));
	free(copy);
	fixture_free(f);
}

static void answers(struct fixture *f, struct mosquitto *client)
{
	(void)f;
	fixture_message(
		client, "devices/d1/ota/status", "{\"version\":\"1.0.0\",\"status\":\"DOWNLOADING\"}", 1);
}

static void runs_it(struct fixture *f, struct mosquitto *client)
{
	(void)f;
	fixture_message(client, "devices/d1/ota/status", "{\"version\":\"1.5.0\"}", 1);
}

static void halted(struct fixture *f, struct mosquitto *client)
{
	(void)client;
	set_live(f, false);
}

static void revoked(struct fixture *f, struct mosquitto *client)
{
	struct change *change = change_new(CHANGE_RELEASE_GONE);

	(void)client;
	assert_non_null(change);
	change->release_id = RELEASE;
	push(f, change);
}

static void there(struct fixture *f, struct mosquitto *client)
{
	(void)client;
	database(f, true, 0);
}

static void refused(struct fixture *f, struct mosquitto *client)
{
	(void)client;
	database(f, false, 0);
}

static void too_old(struct fixture *f, struct mosquitto *client)
{
	(void)client;
	database(f, false, 5000);
}

static void clock_back(struct fixture *f, struct mosquitto *client)
{
	(void)client;
	database(f, false, HOUR_MS);
	fixture_tick(20);
	fixture_wall_ms -= 24 * HOUR_MS;
}

static void past_deadline(struct fixture *f, struct mosquitto *client)
{
	(void)client;
	database(f, false, 10 * HOUR_MS);
	fixture_tick(20);
	fixture_wall_ms += HOUR_MS;
}

static void window_ends(struct fixture *f, struct mosquitto *client)
{
	struct change *change = change_new(CHANGE_ROLLOUT);

	(void)client;
	assert_non_null(change);
	change->rollout = ROLLOUT;
	change->live = true;
	change->until_ms = fixture_wall_ms + 5000;
	push(f, change);
}

static void goes(struct fixture *f, struct mosquitto *client)
{
	(void)f;
	fixture_disconnect(client, 0);
}

static void outbox_full(struct fixture *f, struct mosquitto *client)
{
	(void)client;
	f->append_result = OTA_ERR_FULL;
}

static void test_not_told(void **state)
{
	static void (*const cases[])(struct fixture * f, struct mosquitto * client) = { answers,
		runs_it, halted, revoked, there, refused, too_old, clock_back, past_deadline, window_ends,
		goes, outbox_full };
	const int64_t wall_ms = fixture_wall_ms;
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
		struct fixture *f = restarted(HOUR_MS);

		back(f, &client);
		cases[i](f, &client);
		later(f, AGAIN_AFTER_MS + 1000);
		if (fake_publish_on(topic) || fixture_events(f, EVENT_TOLD) > 0
			|| fixture_events(f, EVENT_UNDELIVERED) > 0) {
			fail_msg("case %zu", i);
		}
		f->append_result = OTA_OK;
		fixture_free(f);
		fixture_wall_ms = wall_ms;
	}
}

/* It came back before the claims did. */
static void test_here_already(void **state)
{
	struct mosquitto idle = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct mosquitto busy = { .id = "d2", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_new(false);
	(void)state;

	give_release(f);
	set_live(f, true);
	database(f, false, HOUR_MS);
	fixture_message(&idle, "devices/d1/ota/status", report, 1);
	fixture_message(
		&busy, "devices/d2/ota/status", "{\"version\":\"1.0.0\",\"status\":\"APPLYING\"}", 1);
	back(f, &idle);
	back(f, &busy);
	for (int i = 1; i <= 2; i++) {
		struct change *change = new_offer(i == 1 ? "d1" : "d2", 1);

		change->kind = CHANGE_CLAIM;
		push(f, change);
	}
	later(f, 100);
	later(f, AGAIN_AFTER_MS);
	assert_int_equal(fixture_events(f, EVENT_TOLD), 1);
	assert_string_equal(fixture_last(f, EVENT_TOLD)->device, "d1");
	fixture_free(f);
}

/* Behind a gateway: its own answer is none of its devices', and theirs are not one another's. */
static void test_each_device_of_a_gateway_answers_for_itself(void **state)
{
	static const char busy[] = "{\"version\":\"1.0.0\",\"status\":\"APPLYING\"}";
	struct mosquitto hub = { .id = "hub", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_new(false);
	struct change *gateways = change_new(CHANGE_GATEWAYS);
	(void)state;

	assert_non_null(gateways);
	gateways->text = strdup("hub");
	push(f, gateways);
	give_release(f);
	set_live(f, true);
	database(f, false, HOUR_MS);
	fixture_tick(20);
	hub.sub_count = 1;
	fixture_message(&hub, "devices/hub/ota/status", busy, 1);
	fixture_message(&hub, "devices/b1/ota/status", report, 1);
	fixture_message(&hub, "devices/b2/ota/status", busy, 1);
	fixture_tick(20);
	fixture_forget(f);
	for (int i = 1; i <= 2; i++) {
		struct change *change = new_offer(i == 1 ? "b1" : "b2", 1);

		change->kind = CHANGE_CLAIM;
		change->via = strdup("hub");
		push(f, change);
	}
	later(f, 100);
	later(f, AGAIN_AFTER_MS);
	assert_int_equal(fixture_events(f, EVENT_TOLD), 1);
	assert_string_equal(fixture_last(f, EVENT_TOLD)->device, "b1");
	fixture_free(f);
}

/* Told by this process, and the database goes away afterwards. */
static void test_without_a_restart(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&client);
	char *copy;
	(void)state;

	push(f, new_offer("d1", 1));
	fixture_tick(20);
	copy = strdup(fake_publish_on(topic)->payload);
	database(f, false, 60000);
	fixture_disconnect(&client, 0);
	client.sub_count = 0;
	back(f, &client);
	/* Its queued copy passes for as long as it may be told at all. */
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_SUCCESS);
	later(f, AGAIN_AFTER_MS + 1000);
	assert_int_equal(fixture_events(f, EVENT_TOLD), 1);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_SUCCESS);
	later(f, 60000);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_ACL_DENIED);
	database(f, true, 0);
	fixture_tick(20);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_SUCCESS);
	free(copy);
	fixture_free(f);
}

/* Nothing that was only kept passes the READ check: not one byte of it was sent by this process. */
static void test_kept_is_not_sent(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct fixture *before = fixture_ready(&client);
	struct fixture *f;
	char *copy;
	(void)state;

	push(before, new_offer("d1", 3));
	fixture_tick(20);
	copy = strdup(fake_publish_on(topic)->payload);
	fixture_free(before);
	client.sub_count = 0;
	f = restarted(HOUR_MS);
	back(f, &client);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_ACL_DENIED);
	free(copy);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_told_again_once),
		cmocka_unit_test(test_not_told),
		cmocka_unit_test(test_here_already),
		cmocka_unit_test(test_each_device_of_a_gateway_answers_for_itself),
		cmocka_unit_test(test_without_a_restart),
		cmocka_unit_test(test_kept_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
