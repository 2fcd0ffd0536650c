/* Images in blocks: where an answer goes, and answers without bytes. */
#include "blocks_fixture.h"

static void files_that_are_missing_or_not_checked_yet(void **state)
{
	struct mosquitto client = { .id = "dev-1", .protocol_version = 4 };
	struct fixture *f = told_fixture(&client);

	(void)state;
	assert_int_equal(submitted, 1); /* with the notice, so that the operator learns of it */
	assert_int_equal(jobs[0]->length, 0);
	outcome = BLOCK_MISSING;
	assert_int_equal(ask(&client, 0, 16), MOSQ_ERR_SUCCESS);
	fixture_tick(20);
	assert_int_equal(status_on(ANSWERS), BLOCK_MISSING);
	assert_int_equal(fake_publish_on(ANSWERS)->payload[3], 30);
	assert_int_equal(fake_publish_on(ANSWERS)->length, BLOCK_HEADER);
	outcome = BLOCK_LATER;
	assert_int_equal(ask(&client, 0, 16), MOSQ_ERR_SUCCESS);
	fixture_tick(20);
	assert_int_equal(status_on(ANSWERS), BLOCK_LATER);
	assert_int_equal(fixture_events(f, EVENT_DENIED), 0);
	fixture_free(f);
}

static int ask_with(struct mosquitto *client, const char *topic, const char *correlation)
{
	mosquitto_property *list = NULL;
	int result;

	if (topic != NULL) {
		assert_int_equal(mosquitto_property_add_string(&list, MQTT_PROP_RESPONSE_TOPIC, topic), 0);
	}
	if (correlation != NULL) {
		assert_int_equal(mosquitto_property_add_binary(&list, MQTT_PROP_CORRELATION_DATA,
							 correlation, (uint16_t)strlen(correlation)),
			0);
	}
	result = fixture_message_with(
		client, GET, "{\"sha256\":\"" SHA256 "\",\"offset\":0,\"length\":16}", 1, list);
	mosquitto_property_free_all(&list);
	fixture_tick(20);
	return result;
}

static void response_topics(void **state)
{
	static const char *const others[] = { "devices/dev-2/ota/block", "devices/dev-1",
		"devices/dev-11/x", "devices/dev-1/ota/status", "devices/dev-1/ota/available",
		"devices/dev-1/ota/block/get", "devices/dev-1/+/x", "$SYS/broker/version",
		"fleet/north/ota/available", "" };
	struct mosquitto client = { .id = "dev-1", .protocol_version = 5 };
	struct fixture *f = told_fixture(&client);
	char large[PROPERTIES_CORRELATION_MAX + 2];

	(void)state;
	assert_int_equal(ask_with(&client, "devices/dev-1/answers/7", "block 17"), MOSQ_ERR_SUCCESS);
	assert_int_equal(status_on("devices/dev-1/answers/7"), BLOCK_OK);
	assert_string_equal(fake_publish_on("devices/dev-1/answers/7")->correlation, "block 17");
	assert_string_equal(fake_publish_on("devices/dev-1/answers/7")->client_id, "dev-1");
	assert_int_equal(ask_with(&client, ANSWERS, NULL), MOSQ_ERR_SUCCESS);
	assert_int_equal(status_on(ANSWERS), BLOCK_OK);
	assert_null(fake_publish_on(ANSWERS)->correlation);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		fake_forget_publishes();
		assert_int_equal(ask_with(&client, others[i], "c"), MOSQ_ERR_ACL_DENIED);
		assert_int_equal(fake_publishes(), 1);
		assert_string_equal(fake_publish_at(0)->topic, ANSWERS);
		assert_string_equal(fake_publish_at(0)->correlation, "c");
		assert_int_equal(status_on(ANSWERS), BLOCK_DENIED);
	}
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	assert_int_equal(ask_with(&client, NULL, large), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(status_on(ANSWERS), BLOCK_MALFORMED);
	fixture_free(f);
}

static void off_means_off(void **state)
{
	struct mosquitto client = { .id = "dev-1", .protocol_version = 4 };
	struct mosquitto other = { .id = "dev-2", .protocol_version = 4 };
	struct fixture *f;

	(void)state;
	fixture_links = (struct gate_links){ 0 };
	f = fixture_new(false);
	assert_null(f->gate->blocks);
	assert_int_equal(fixture_acl(&other, MOSQ_ACL_WRITE, GET, "x"), MOSQ_ERR_SUCCESS);
	assert_int_equal(fixture_acl(&other, MOSQ_ACL_WRITE, ANSWERS, "x"), MOSQ_ERR_SUCCESS);
	assert_int_equal(ask(&client, 0, 16), MOSQ_ERR_SUCCESS);
	fixture_tick(20);
	assert_null(fake_publish_on(ANSWERS));
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_that_are_missing_or_not_checked_yet),
		cmocka_unit_test(response_topics),
		cmocka_unit_test(off_means_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
