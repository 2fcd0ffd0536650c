/* Which copies of notices and recalls pass the READ check: those that were sent, byte for byte, while they are wanted. */
#include "deliver_fixture.h"

static const char report[] = "{\"version\":\"1.0.0\"}";

/* Which copies pass when a sleeping device comes back, or when somebody planted one. */
static void test_read_check(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	struct mosquitto other = { .id = "d2", .protocol_version = 4 };
	struct fixture *f = fixture_ready(&client);
	const char topic[] = "fleet/north/ota/available";
	char *copy;
	char *second;
	char *recall;
	(void)state;

	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, "{\"rollout\":17,\"attempt\":1}"),
		MOSQ_ERR_ACL_DENIED);
	push(f, new_offer("d1", 1));
	fixture_tick(20);
	copy = strdup(fake_publish_at(0)->payload);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_SUCCESS);
	assert_int_equal(fixture_acl(&other, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(
		fixture_acl(&client, MOSQ_ACL_READ, topic, "not a notice"), MOSQ_ERR_ACL_DENIED);

	/* Its numbers on other firmware, planted before the plugin was there: a device that reads url and sha256 would install it. */
	assert_int_equal(
		fixture_acl(&client, MOSQ_ACL_READ, topic,
			"{\"version\":\"1.5.0\",\"url\":\"https://evil.example.com/x\",\"rollout\":17,"
			"\"attempt\":1}"),
		MOSQ_ERR_ACL_DENIED);
	copy[strlen(copy) - 2] ^= 1;
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_ACL_DENIED);
	copy[strlen(copy) - 2] ^= 1;

	/* Paused: no; resumed: yes. */
	set_live(f, false);
	fixture_tick(20);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_ACL_DENIED);
	set_live(f, true);
	fixture_tick(20);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_SUCCESS);

	/* The next attempt makes the first copy stale. */
	push(f, new_offer("d1", 2));
	fixture_tick(50);
	second = strdup(fake_publish_on(topic)->payload);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, second), MOSQ_ERR_SUCCESS);

	/* A plain report changes nothing, an answer makes the copy stale. */
	fixture_message(&client, "devices/d1/ota/status", report, 1);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, second), MOSQ_ERR_SUCCESS);
	fixture_message(
		&client, "devices/d1/ota/status", "{\"version\":\"1.0.0\",\"status\":\"DOWNLOADING\"}", 1);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, second), MOSQ_ERR_ACL_DENIED);

	/* Recalled: the notice is stale, the recall itself may pass. */
	push(f, new_offer("d1", 3));
	fixture_tick(50);
	push(f, new_recall("d1"));
	free(second);
	second = strdup(fake_publish_on(topic)->payload);
	fixture_tick(50);
	recall = strdup(fake_publish_on(topic)->payload);
	assert_string_equal(recall, "{\"action\":\"cancel\",\"rollout\":17,\"version\":\"1.5.0\"}");
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, second), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, recall), MOSQ_ERR_SUCCESS);
	assert_int_equal(fixture_acl(&other, MOSQ_ACL_READ, topic, recall), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic,
						 "{\"action\":\"cancel\",\"rollout\":17,\"version\":\"1.4.0\"}"),
		MOSQ_ERR_ACL_DENIED);

	/* Told again after all: the recall is over. */
	push(f, new_offer("d1", 4));
	fixture_tick(50);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, recall), MOSQ_ERR_ACL_DENIED);
	free(copy);
	free(second);
	free(recall);
	fixture_free(f);
}

/* A copy that is delivered late: the device's time is over, or the release's. */
static void test_read_check_in_time(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	struct fixture *f = fixture_ready(&client);
	const char topic[] = "fleet/north/ota/available";
	const int64_t now = fixture_wall_ms;
	char *copy;
	(void)state;

	push(f, new_offer("d1", 1));
	fixture_tick(20);
	copy = strdup(fake_publish_on(topic)->payload);
	fixture_wall_ms = now + 3600000 - 1;
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_SUCCESS);
	fixture_wall_ms = now + 3600000 + DELIVER_LATE_MS;
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_ACL_DENIED);
	assert_string_equal(
		fixture_last(f, EVENT_DENIED)->text, "not the outstanding notice of this device");
	fixture_wall_ms = now;
	free(copy);
	fixture_free(f);
}

static void test_read_check_expired(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4 };
	struct fixture *f = fixture_ready(&client);
	const char topic[] = "fleet/north/ota/available";
	const int64_t now = fixture_wall_ms;
	char *copy;
	(void)state;

	give_release_until(f, "2027-01-15T08:30:00Z");
	push(f, new_offer("d1", 1));
	fixture_tick(20);
	copy = strdup(fake_publish_on(topic)->payload);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_SUCCESS);
	fixture_wall_ms = now + 1800000;
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, topic, copy), MOSQ_ERR_ACL_DENIED);
	fixture_wall_ms = now;
	free(copy);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_check),
		cmocka_unit_test(test_read_check_in_time),
		cmocka_unit_test(test_read_check_expired),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
