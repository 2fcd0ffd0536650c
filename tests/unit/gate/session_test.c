/* Presence: which client is a device, when its session begins and ends, and when it listens. */
#include "gate_fixture.h"

static const char report[] = "{\"version\":\"1.0.0\"}";

static void test_subscribe_makes_device(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	const struct event *event;
	(void)state;

	assert_int_equal(fixture_subscribe(&client, "fleet/north/ota/available"), MOSQ_ERR_SUCCESS);
	assert_int_equal(f->count, 0); /* not before the broker granted it */
	fixture_tick(20);
	assert_int_equal(f->count, 2);
	assert_int_equal(f->events[0].kind, EVENT_CONNECTED);
	assert_int_equal(f->events[0].flags, 0);
	event = fixture_last(f, EVENT_LISTENING);
	assert_string_equal(event->device, "d1");
	assert_string_equal(event->client, "d1");
	assert_string_equal(event->fleet, "north");
	assert_string_equal(event->topic, "fleet/north/ota/available");
	assert_int_equal(event->session, f->events[0].session);
	assert_true(event->session > 1600000000000 * 4096);

	/* The same again is nothing new; another topic or fleet is. */
	fixture_subscribe(&client, "fleet/north/ota/available");
	fixture_tick(20);
	assert_int_equal(f->count, 2);
	fixture_subscribe(&client, "devices/d1/ota/available");
	fixture_tick(20);
	assert_int_equal(f->count, 3);
	assert_string_equal(f->events[2].topic, "devices/d1/ota/available");
	assert_string_equal(f->events[2].fleet, "north");
	fixture_subscribe(&client, "fleet/south/ota/available");
	fixture_tick(20);
	assert_int_equal(f->count, 4);
	assert_string_equal(f->events[3].fleet, "south");
	assert_int_equal(fixture_events(f, EVENT_CONNECTED), 1);

	fixture_disconnect(&client, -1);
	assert_int_equal(f->count, 5);
	assert_int_equal(f->events[4].kind, EVENT_DISCONNECTED);
	assert_int_equal(f->events[4].session, event->session);
	assert_string_equal(f->events[4].text, "");
	fixture_disconnect(&client, -1); /* once more does no harm */
	assert_int_equal(f->count, 5);
	assert_int_equal(f->gate->sessions.connected, 0);
	assert_int_equal(f->gate->sessions.listening, 0);
	fixture_free(f);
}

static void test_subscribe_refused(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	(void)state;

	fixture_acl(&client, MOSQ_ACL_SUBSCRIBE, "devices/d1/ota/available", NULL);
	fixture_tick(20); /* another plugin said no: sub_count is still 0 */
	assert_int_equal(f->count, 0);
	fixture_free(f);
}

static void test_others_are_no_devices(void **state)
{
	static const char *const filters[] = { "#", "devices/+/ota/available",
		"devices/d2/ota/available", "fleet/+/ota/available", "$share/g/fleet/f/ota/available",
		"devices/d1/ota/status" };
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	(void)state;

	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
		fixture_subscribe(&client, filters[i]);
	}
	fixture_acl(&client, MOSQ_ACL_WRITE, "a", "x");
	fixture_tick(20);
	fixture_disconnect(&client, -1);
	assert_int_equal(f->count, 0);
	fixture_free(f);
}

static void test_report_makes_device(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	(void)state;

	fixture_message(&client, "devices/d1/ota/status", "{", 1); /* not a report, not a device */
	assert_int_equal(fixture_events(f, EVENT_CONNECTED), 0);
	fixture_message(&client, "devices/d1/ota/status", report, 1);
	assert_int_equal(f->events[1].kind, EVENT_CONNECTED);
	assert_int_equal(f->events[2].kind, EVENT_REPORT);
	assert_int_equal(f->events[2].session, f->events[1].session);
	assert_string_equal(f->events[2].version, "1.0.0");
	fixture_tick(20);
	assert_int_equal(fixture_events(f, EVENT_LISTENING), 0); /* it subscribed to nothing */

	/* A wildcard subscription enrols nobody, but who reports and has one listens. */
	fixture_subscribe(&client, "devices/+/ota/available");
	fixture_message(&client, "devices/d1/ota/status", report, 1);
	fixture_tick(20);
	assert_int_equal(fixture_events(f, EVENT_LISTENING), 1);
	assert_string_equal(fixture_last(f, EVENT_LISTENING)->topic, "");
	assert_int_equal(fixture_events(f, EVENT_CONNECTED), 1);
	fixture_free(f);
}

static void test_unsubscribe(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	(void)state;

	fixture_subscribe(&client, "fleet/f/ota/available");
	fixture_subscribe(&client, "devices/d1/ota/available");
	fixture_tick(20);
	assert_int_equal(f->gate->sessions.listening, 1);
	fixture_acl(&client, MOSQ_ACL_UNSUBSCRIBE, "devices/d1/ota/available", NULL);
	assert_int_equal(f->gate->sessions.listening, 1); /* the fleet's is left */
	assert_int_equal(sessions_of_device(&f->gate->sessions, "d1")->notify, 0);
	fixture_acl(&client, MOSQ_ACL_UNSUBSCRIBE, "fleet/g/ota/available", NULL);
	assert_int_equal(f->gate->sessions.listening, 1);
	fixture_acl(&client, MOSQ_ACL_UNSUBSCRIBE, "fleet/f/ota/available", NULL);
	assert_int_equal(f->gate->sessions.listening, 0);
	fixture_message(&client, "devices/d1/ota/status", report, 1);
	fixture_tick(20);
	assert_int_equal(f->gate->sessions.listening, 0); /* it said so */
	fixture_subscribe(&client, "devices/d1/ota/available");
	fixture_tick(20);
	assert_int_equal(f->gate->sessions.listening, 1);
	assert_int_equal(fixture_events(f, EVENT_LISTENING), 2);
	fixture_free(f);
}

/* 2.0.13 and later name the victim in the DISCONNECT of somebody who failed to log in. */
static void test_impostor(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	struct mosquitto impostor = { .id = "d1", .protocol_version = 4 };
	struct mosquitto nobody = { .id = NULL };
	(void)state;

	fixture_message(&client, "devices/d1/ota/status", report, 1);
	fixture_disconnect(&impostor, 11);
	fixture_disconnect(&nobody, 11);
	fixture_disconnect(NULL, 11);
	assert_int_equal(fixture_events(f, EVENT_DISCONNECTED), 0);
	assert_non_null(sessions_of_device(&f->gate->sessions, "d1"));
	fixture_free(f);
}

/* The new connection is seen before the old one's end. */
static void test_takeover(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto old = { .id = "d1", .protocol_version = 4 };
	struct mosquitto new = { .id = "d1", .protocol_version = 4 };
	int64_t first;
	(void)state;

	fixture_message(&old, "devices/d1/ota/status", report, 1);
	first = fixture_last(f, EVENT_CONNECTED)->session;
	fixture_message(&new, "devices/d1/ota/status", report, 1);
	assert_int_equal(fixture_events(f, EVENT_CONNECTED), 2);
	assert_true(fixture_last(f, EVENT_CONNECTED)->session > first);
	fixture_disconnect(&old, -1);
	assert_int_equal(fixture_last(f, EVENT_DISCONNECTED)->session, first);
	assert_ptr_equal(sessions_of_device(&f->gate->sessions, "d1")->client, &new);
	assert_int_equal(f->gate->sessions.connected, 1);
	fixture_free(f);
}

/* The device is the user: the same one comes back under another client id, and a client id changes its user. */
static void test_named_by_the_user(void **state)
{
	struct fixture *f = fixture_new_with(false, "device_identity", "username");
	struct mosquitto old = { .id = "c1", .username = "d1", .protocol_version = 4 };
	struct mosquitto new = { .id = "c2", .username = "d1", .protocol_version = 4 };
	struct mosquitto other = { .id = "c1", .username = "d2", .protocol_version = 4 };
	int64_t first;
	(void)state;

	fixture_message(&old, "devices/d1/ota/status", report, 1);
	assert_ptr_equal(sessions_of_device(&f->gate->sessions, "d1")->client, &old);
	assert_null(sessions_of_device(&f->gate->sessions, "c1"));
	assert_string_equal(fixture_last(f, EVENT_CONNECTED)->device, "d1");
	assert_string_equal(fixture_last(f, EVENT_CONNECTED)->client, "c1");
	first = fixture_last(f, EVENT_CONNECTED)->session;
	fixture_message(&new, "devices/d1/ota/status", report, 1);
	assert_ptr_equal(sessions_of_device(&f->gate->sessions, "d1")->client, &new);
	fixture_disconnect(&old, -1);
	assert_int_equal(fixture_last(f, EVENT_DISCONNECTED)->session, first);
	assert_ptr_equal(sessions_of_device(&f->gate->sessions, "d1")->client, &new);
	fixture_message(&other, "devices/d2/ota/status", report, 1);
	assert_ptr_equal(sessions_of_device(&f->gate->sessions, "d2")->client, &other);
	assert_int_equal(f->gate->sessions.connected, 2);
	fixture_disconnect(&new, -1);
	assert_null(sessions_of_device(&f->gate->sessions, "d1"));
	fixture_free(f);
}

/* Contexts are freed and used again, now and then without an event. */
static void test_pointer_reuse(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	int64_t first;
	(void)state;

	fixture_subscribe(&client, "devices/d1/ota/available");
	fixture_tick(20);
	first = fixture_last(f, EVENT_CONNECTED)->session;
	client = (struct mosquitto){ .id = "d2", .protocol_version = 4 };
	fixture_message(&client, "devices/d2/ota/status", report, 1);
	assert_int_equal(fixture_last(f, EVENT_DISCONNECTED)->session, first);
	assert_string_equal(fixture_last(f, EVENT_DISCONNECTED)->device, "d1");
	assert_string_equal(fixture_last(f, EVENT_CONNECTED)->device, "d2");
	assert_null(sessions_of_device(&f->gate->sessions, "d1"));

	client.id = "d3"; /* the end of somebody else: d2 cannot be here any more */
	fixture_disconnect(&client, -1);
	assert_null(sessions_of_device(&f->gate->sessions, "d2"));
	assert_int_equal(f->gate->sessions.by_client.count, 0);

	/* A subscription whose client is gone by the tick. */
	fixture_subscribe(&client, "devices/d3/ota/available");
	client.id = "d4";
	fixture_forget(f);
	fixture_tick(20);
	assert_int_equal(f->count, 0);
	fixture_free(f);
}

/* 2.0: a kept session shows by having subscriptions before it made any. */
static void test_kept_session_2_0(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto kept = { .id = "d1", .protocol_version = 4, .sub_count = 1 };
	struct mosquitto fresh = { .id = "d2", .protocol_version = 4, .sub_count = 0 };
	struct mosquitto clean = {
		.id = "d3", .protocol_version = 4, .clean_session = true, .sub_count = 1
	};
	(void)state;

	fixture_acl(&kept, MOSQ_ACL_WRITE, "sensors/1", "x");
	fixture_acl(&kept, MOSQ_ACL_WRITE, "sensors/1", "x");
	fixture_acl(&clean, MOSQ_ACL_WRITE, "sensors/1", "x");
	fixture_subscribe(&fresh, "a/b");
	fixture_acl(&fresh, MOSQ_ACL_WRITE, "sensors/1", "x");
	fixture_tick(20);
	fixture_tick(20);
	assert_int_equal(f->count, 2);
	assert_int_equal(f->events[0].kind, EVENT_CONNECTED);
	assert_int_equal(f->events[0].flags, EVENT_FLAG_IF_KNOWN);
	assert_int_equal(f->events[1].kind, EVENT_LISTENING);
	assert_int_equal(f->events[1].flags, EVENT_FLAG_IF_KNOWN);
	assert_string_equal(f->events[1].topic, "");
	assert_int_equal(f->gate->sessions.connected, 0); /* it may be anybody */

	/* A report makes it certain. */
	fixture_message(&kept, "devices/d1/ota/status", report, 1);
	assert_int_equal(f->events[2].kind, EVENT_CONNECTED);
	assert_int_equal(f->events[2].flags, 0);
	assert_int_equal(f->events[2].session, f->events[0].session);
	assert_int_equal(f->gate->sessions.connected, 1);

	/* Its end; then its will, and the second DISCONNECT when it comes back in a new context. */
	fixture_disconnect(&kept, -1);
	assert_int_equal(f->count, 5);
	fixture_acl(&kept, MOSQ_ACL_WRITE, "wills/d1", "gone");
	fixture_tick(20);
	assert_int_equal(f->count, 5);
	fixture_disconnect(&kept, -1);
	assert_int_equal(f->count, 5);
	assert_null(sessions_find(&f->gate->sessions, &kept));
	fixture_free(f);
}

/* The same address, the same name, after an end: what subscribes or reports is alive. */
static void test_ended_entry_revives(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto client = { .id = "d1", .protocol_version = 5 };
	(void)state;

	fixture_subscribe(&client, "devices/d1/ota/available");
	fixture_tick(20);
	fixture_disconnect(&client, -1);
	client.sub_count = 0;
	fixture_subscribe(&client, "devices/d1/ota/available");
	fixture_tick(20);
	assert_int_equal(fixture_events(f, EVENT_CONNECTED), 2);
	assert_int_equal(fixture_events(f, EVENT_LISTENING), 2);
	assert_true(fixture_last(f, EVENT_CONNECTED)->session > f->events[0].session);
	fixture_free(f);
}

static void test_modern_connect_and_offline(void **state)
{
	static const struct {
		int reason;
		const char *words;
	} reasons[] = { { 0, "client disconnected" }, { 7, "connection lost" },
		{ 19, "keepalive timeout" }, { 142, "taken over" }, { 152, "kicked" },
		{ 99, "reason 99" } };
	struct fixture *f = fixture_new(true);
	struct mosquitto client = { .id = "d1", .protocol_version = 5, .sub_count = 1 };
	struct compat_evt_connect connect = { .client = &client };
	(void)state;

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		struct compat_evt_client_offline offline = { .client = &client,
			.reason = reasons[i].reason };

		assert_int_equal(fake_call(COMPAT_EVT_CONNECT, &connect), MOSQ_ERR_SUCCESS);
		fixture_tick(20);
		assert_int_equal(f->count, 2);
		assert_int_equal(f->events[1].kind, EVENT_LISTENING);
		assert_int_equal(f->events[1].flags, EVENT_FLAG_IF_KNOWN);
		if (i % 2 == 0) {
			fake_call(COMPAT_EVT_CLIENT_OFFLINE, &offline);
		} else {
			fixture_disconnect(&client, reasons[i].reason);
		}
		assert_int_equal(f->count, 3);
		assert_string_equal(f->events[2].text, reasons[i].words);
		assert_null(sessions_find(&f->gate->sessions, &client));
		fixture_forget(f);
	}
	/* There a WRITE check says nothing about sessions. */
	fixture_acl(&client, MOSQ_ACL_WRITE, "sensors/1", "x");
	fixture_tick(20);
	assert_int_equal(f->count, 0);
	fixture_free(f);
}

/* With a full outbox the events wait. */
static void test_full_outbox(void **state)
{
	struct fixture *f = fixture_new(false);
	struct mosquitto one = { .id = "d1", .protocol_version = 4 };
	struct mosquitto two = { .id = "d2", .protocol_version = 4 };
	(void)state;

	fixture_subscribe(&one, "devices/d1/ota/available");
	fixture_subscribe(&two, "devices/d2/ota/available");
	f->append_result = OTA_ERR_FULL;
	fixture_tick(20);
	assert_int_equal(f->gate->sessions.listening, 0);
	f->append_result = OTA_OK;
	fixture_tick(20);
	assert_int_equal(fixture_events(f, EVENT_CONNECTED), 2);
	assert_int_equal(fixture_events(f, EVENT_LISTENING), 2);
	f->append_result = OTA_ERR_FULL;
	fixture_disconnect(&one, -1);
	assert_int_equal(f->gate->counters.events_lost, 1);
	fixture_free(f);
}

/* What a tick finds out is one write, whatever it is; what cannot be written is tried again by each tick until it can. */
static void test_gathered(void **state)
{
	struct mosquitto clients[20] = { 0 };
	char ids[20][8];
	struct fixture *f = fixture_new(false);
	(void)state;

	for (int i = 0; i < 20; i++) {
		char topic[64];

		snprintf(ids[i], sizeof(ids[i]), "d%d", i);
		snprintf(topic, sizeof(topic), "devices/%s/ota/available", ids[i]);
		clients[i].id = ids[i];
		clients[i].protocol_version = 4;
		fixture_subscribe(&clients[i], topic);
	}
	fixture_tick(20);
	assert_int_equal(f->count, 40);
	assert_int_equal(f->writes, 1);
	assert_int_equal(f->waiting, 0);

	/* A first report says who it is of; both are safe when it is acknowledged. */
	clients[0].id = "d21";
	assert_int_equal(
		fixture_message(&clients[0], "devices/d21/ota/status", report, 1), MOSQ_ERR_SUCCESS);
	assert_int_equal(f->waiting, 0);

	f->flush_result = OTA_ERR_FULL;
	clients[1].id = "d22";
	fixture_subscribe(&clients[1], "devices/d22/ota/available");
	fixture_tick(20);
	/* d1 is gone, d21 and d22 listen, and d22 is there. */
	assert_int_equal(f->waiting, 4);
	fixture_tick(20);
	assert_int_equal(f->waiting, 4);
	f->flush_result = OTA_OK;
	fixture_tick(20);
	assert_int_equal(f->waiting, 0);
	assert_int_equal(fixture_events(f, EVENT_LISTENING), 22);
	fixture_free(f);
}

static void test_enroll_known(void **state)
{
	struct fixture *f = fixture_new_with(false, "enroll", "known");
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	(void)state;

	fixture_subscribe(&client, "devices/d1/ota/available");
	fixture_tick(20);
	fixture_message(&client, "devices/d1/ota/status", report, 1);
	assert_int_equal(f->count, 3);
	for (size_t i = 0; i < f->count; i++) {
		assert_int_equal(f->events[i].flags, EVENT_FLAG_IF_KNOWN);
	}
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subscribe_makes_device),
		cmocka_unit_test(test_subscribe_refused),
		cmocka_unit_test(test_others_are_no_devices),
		cmocka_unit_test(test_report_makes_device),
		cmocka_unit_test(test_unsubscribe),
		cmocka_unit_test(test_impostor),
		cmocka_unit_test(test_takeover),
		cmocka_unit_test(test_named_by_the_user),
		cmocka_unit_test(test_pointer_reuse),
		cmocka_unit_test(test_kept_session_2_0),
		cmocka_unit_test(test_ended_entry_revives),
		cmocka_unit_test(test_modern_connect_and_offline),
		cmocka_unit_test(test_full_outbox),
		cmocka_unit_test(test_gathered),
		cmocka_unit_test(test_enroll_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
