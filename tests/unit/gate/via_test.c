/* Gateways: who may report for another device, and how that one is told. */
#include "deliver_fixture.h"

static const char report[] = "{\"version\":\"1.0.0\"}";
static const char progress[] = "{\"version\":\"1.0.0\",\"status\":\"DOWNLOADING\"}";

static void set_gateways(struct fixture *f, const char *names)
{
	struct change *change = change_new(CHANGE_GATEWAYS);

	assert_non_null(change);
	change->text = names == NULL ? NULL : strdup(names);
	push(f, change);
	fixture_tick(20);
}

static struct change *via(struct change *change, const char *gateway)
{
	change->via = strdup(gateway);
	return change;
}

/* A gateway that has subscribed, by a filter that names no device, and spoken for beacon-1. */
static struct fixture *fixture_gateway(struct mosquitto *hub)
{
	struct fixture *f = fixture_new(false);

	give_release(f);
	set_live(f, true);
	set_gateways(f, "hub-0\nhub-1");
	hub->sub_count = 1;
	assert_int_equal(
		fixture_message(hub, "devices/beacon-1/ota/status", report, 1), MOSQ_ERR_SUCCESS);
	fixture_tick(20);
	return f;
}

static void test_only_gateways_report_for_others(void **state)
{
	struct mosquitto hub = { .id = "hub-1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_new(false);
	const char topic[] = "devices/beacon-1/ota/status";
	(void)state;

	assert_int_equal(fixture_message(&hub, topic, report, 1), MOSQ_ERR_ACL_DENIED);
	set_gateways(f, "hub-0\nhub-10\nhub");
	assert_int_equal(fixture_acl(&hub, MOSQ_ACL_WRITE, topic, report), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_message(&hub, topic, report, 1), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_events(f, EVENT_REPORT), 0);
	set_gateways(f, "hub-0\nhub-1");
	assert_int_equal(fixture_acl(&hub, MOSQ_ACL_WRITE, topic, report), MOSQ_ERR_SUCCESS);
	assert_int_equal(fixture_message(&hub, topic, report, 1), MOSQ_ERR_SUCCESS);
	assert_int_equal(fixture_events(f, EVENT_REPORT), 1);
	/* Still no notices, and nothing without a device's name. */
	assert_int_equal(fixture_acl(&hub, MOSQ_ACL_WRITE, "devices/beacon-1/ota/available", report),
		MOSQ_ERR_ACL_DENIED);
	assert_int_equal(
		fixture_acl(&hub, MOSQ_ACL_WRITE, "devices//ota/status", report), MOSQ_ERR_ACL_DENIED);
	set_gateways(f, NULL);
	assert_int_equal(fixture_message(&hub, topic, report, 1), MOSQ_ERR_ACL_DENIED);
	fixture_free(f);
}

/* Another device's notify topic by its very name, plain and shared; what has wildcards is the monitors'. */
static void test_only_gateways_and_operators_subscribe_to_others(void **state)
{
	static const char *const foreign[] = { "devices/dev-1/ota/available",
		"$share/g/devices/dev-1/ota/available" };
	static const char *const harmless[] = { "devices/spy/ota/available",
		"$share/g/devices/spy/ota/available", "devices/+/ota/available",
		"$share/g/devices/+/ota/available", "$share/g/#", "$share/devices/dev-1", "$share/g",
		"devices/dev-1/ota/status", "devices/dev-1/ota/available/x", "fleet/north/ota/available" };
	struct mosquitto spy = { .id = "spy", .protocol_version = 4, .clean_session = true };
	struct mosquitto hub = { .id = "hub-1", .protocol_version = 4, .clean_session = true };
	struct mosquitto desk = { .id = "d", .username = "desk", .protocol_version = 4 };
	struct fixture *f = fixture_new_with(false, "control_users", "desk");
	(void)state;

	for (size_t i = 0; i < 2; i++) { /* nobody has said who is a gateway */
		assert_int_equal(fixture_acl(&spy, MOSQ_ACL_SUBSCRIBE, foreign[i], NULL), MOSQ_ERR_SUCCESS);
	}
	set_gateways(f, "hub-1");
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(
			fixture_acl(&spy, MOSQ_ACL_SUBSCRIBE, foreign[i], NULL), MOSQ_ERR_ACL_DENIED);
		assert_string_equal(fixture_last(f, EVENT_DENIED)->topic, foreign[i]);
		assert_string_equal(fixture_last(f, EVENT_DENIED)->client, "spy");
		assert_int_equal(
			fixture_acl(&spy, MOSQ_ACL_UNSUBSCRIBE, foreign[i], NULL), MOSQ_ERR_SUCCESS);
		assert_int_equal(fixture_acl(&hub, MOSQ_ACL_SUBSCRIBE, foreign[i], NULL), MOSQ_ERR_SUCCESS);
		assert_int_equal(
			fixture_acl(&desk, MOSQ_ACL_SUBSCRIBE, foreign[i], NULL), MOSQ_ERR_SUCCESS);
	}
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		assert_int_equal(
			fixture_acl(&spy, MOSQ_ACL_SUBSCRIBE, harmless[i], NULL), MOSQ_ERR_SUCCESS);
	}
	assert_int_equal(fixture_events(f, EVENT_DENIED), 2);
	set_gateways(f, NULL);
	assert_int_equal(fixture_acl(&hub, MOSQ_ACL_SUBSCRIBE, foreign[0], NULL), MOSQ_ERR_ACL_DENIED);
	fixture_free(f);
}

static void test_events_name_device_and_gateway(void **state)
{
	struct mosquitto hub = { .id = "hub-1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_gateway(&hub);
	const struct event *event = fixture_last(f, EVENT_REPORT);
	(void)state;

	assert_string_equal(event->device, "beacon-1");
	assert_string_equal(event->fleet, "hub-1");
	assert_int_equal(event->flags & EVENT_FLAG_VIA, EVENT_FLAG_VIA);
	event = fixture_last(f, EVENT_LISTENING);
	assert_string_equal(event->device, "beacon-1");
	assert_string_equal(event->fleet, "hub-1");
	assert_int_equal(event->flags & EVENT_FLAG_VIA, EVENT_FLAG_VIA);
	/* The gateway itself is no device. */
	assert_int_equal(fixture_events(f, EVENT_CONNECTED), 0);
	/* Once in a session, and the end of it is the end of the device's. */
	fixture_message(&hub, "devices/beacon-1/ota/status", report, 1);
	fixture_tick(20);
	assert_int_equal(fixture_events(f, EVENT_LISTENING), 1);
	fixture_disconnect(&hub, 0);
	assert_int_equal(fixture_events(f, EVENT_DISCONNECTED), 1);
	assert_string_equal(fixture_last(f, EVENT_DISCONNECTED)->device, "beacon-1");
	fixture_free(f);
}

static void test_a_gateway_that_subscribes_later(void **state)
{
	struct mosquitto hub = { .id = "hub-1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_new(false);
	(void)state;

	set_gateways(f, "hub-1");
	fixture_message(&hub, "devices/beacon-1/ota/status", report, 1);
	fixture_tick(20);
	fixture_tick(20);
	assert_int_equal(fixture_events(f, EVENT_LISTENING), 0);
	hub.sub_count = 1;
	fixture_tick(20);
	assert_int_equal(fixture_events(f, EVENT_LISTENING), 1);
	fixture_free(f);
}

static void test_notice_and_recall_through_the_gateway(void **state)
{
	struct mosquitto hub = { .id = "hub-1", .protocol_version = 4, .clean_session = true };
	struct mosquitto thief = { .id = "hub-0", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_gateway(&hub);
	const char topic[] = "devices/beacon-1/ota/available";
	char *copy;
	(void)state;

	/* Another gateway that speaks for the same device does not get its notices. */
	thief.sub_count = 1;
	fixture_message(&thief, "devices/beacon-1/ota/status", report, 1);
	fixture_tick(20);
	push(f, via(new_offer("beacon-1", 1), "hub-1"));
	fixture_tick(20);
	assert_int_equal(fake_publishes() > 0, 1);
	assert_string_equal(fake_publish_on(topic)->client_id, "hub-1");
	copy = strdup(fake_publish_on(topic)->payload);
	assert_int_equal(fixture_acl(&hub, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_SUCCESS);
	assert_int_equal(fixture_acl(&thief, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_acl(&hub, MOSQ_ACL_READ, "devices/beacon-2/ota/available", copy),
		MOSQ_ERR_ACL_DENIED);
	/* Its answer through another gateway changes nothing, through its own it makes the copy stale. */
	fixture_message(&thief, "devices/beacon-1/ota/status", progress, 1);
	assert_int_equal(fixture_acl(&hub, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_SUCCESS);
	fixture_message(&hub, "devices/beacon-1/ota/status", progress, 1);
	assert_int_equal(fixture_acl(&hub, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_ACL_DENIED);
	push(f, via(new_recall("beacon-1"), "hub-1"));
	fixture_tick(20);
	assert_non_null(strstr(fake_publish_on(topic)->payload, "cancel"));
	assert_string_equal(fake_publish_on(topic)->client_id, "hub-1");
	free(copy);
	fixture_free(f);
}

static void test_offers_that_have_no_way(void **state)
{
	struct mosquitto hub = { .id = "hub-1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_gateway(&hub);
	(void)state;

	fake_forget_publishes();
	push(f, new_offer("beacon-1", 1));               /* it has no gateway any more */
	push(f, via(new_offer("beacon-1", 1), "hub-0")); /* one that is not here */
	push(f, via(new_offer("beacon-2", 1), "hub-1")); /* not spoken for */
	fixture_tick(20);
	assert_int_equal(fixture_events(f, EVENT_UNDELIVERED), 3);
	fixture_disconnect(&hub, 0);
	push(f, via(new_offer("beacon-1", 2), "hub-1"));
	fixture_tick(50);
	assert_int_equal(fixture_events(f, EVENT_UNDELIVERED), 4);
	assert_null(fake_publish_on("devices/beacon-1/ota/available"));
	fixture_free(f);
}

static void test_no_more_devices_than_fit(void **state)
{
	struct mosquitto hub = { .id = "hub-1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_gateway(&hub);
	char topic[64];
	(void)state;

	for (int i = 2; i <= VIA_CHILDREN_MAX; i++) {
		snprintf(topic, sizeof(topic), "devices/beacon-%d/ota/status", i);
		assert_int_equal(fixture_message(&hub, topic, report, 1), MOSQ_ERR_SUCCESS);
		fixture_forget(f);
	}
	assert_int_equal(
		fixture_message(&hub, "devices/one-more/ota/status", report, 1), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(
		fixture_message(&hub, "devices/beacon-7/ota/status", report, 1), MOSQ_ERR_SUCCESS);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_gateways_report_for_others),
		cmocka_unit_test(test_only_gateways_and_operators_subscribe_to_others),
		cmocka_unit_test(test_events_name_device_and_gateway),
		cmocka_unit_test(test_a_gateway_that_subscribes_later),
		cmocka_unit_test(test_notice_and_recall_through_the_gateway),
		cmocka_unit_test(test_offers_that_have_no_way),
		cmocka_unit_test(test_no_more_devices_than_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
