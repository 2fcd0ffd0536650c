/* Images in blocks: who gets them, until when, in which turns and how fast. */
#include "blocks_fixture.h"

static void bytes_for_who_was_told(void **state)
{
	struct mosquitto client = { .id = "dev-1", .protocol_version = 4 };
	struct fixture *f = told_fixture(&client);
	const struct fake_publish *publish;

	(void)state;
	assert_int_equal(ask(&client, 1000, 500), MOSQ_ERR_SUCCESS);
	fixture_tick(20);
	publish = fake_publish_on(ANSWERS);
	assert_non_null(publish);
	assert_string_equal(publish->client_id, "dev-1");
	assert_int_equal(publish->qos, 1);
	assert_false(publish->retain);
	assert_int_equal(publish->length, BLOCK_HEADER + 24); /* up to the end */
	assert_int_equal((uint8_t)publish->payload[1], BLOCK_OK);
	assert_int_equal((uint8_t)publish->payload[7], 24);
	assert_int_equal((uint8_t)publish->payload[14] * 256 + (uint8_t)publish->payload[15], 1000);
	assert_int_equal((uint8_t)publish->payload[BLOCK_HEADER], (uint8_t)1000);
	assert_int_equal(questions, 0);
	assert_int_equal(fixture_events(f, EVENT_DENIED), 0);
	fixture_free(f);
}

static void refusals(void **state)
{
	struct mosquitto client = { .id = "dev-1", .protocol_version = 4 };
	struct mosquitto thief = { .id = "dev-2", .protocol_version = 4 };
	struct fixture *f = told_fixture(&client);

	(void)state;
	assert_int_equal(ask_on(&client, GET, OTHER, 0, 16), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(status_on(ANSWERS), BLOCK_DENIED);
	assert_int_equal(ask(&client, IMAGE, 16), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(status_on(ANSWERS), BLOCK_RANGE);
	assert_int_equal((uint8_t)fake_publish_on(ANSWERS)->payload[14], IMAGE >> 8);
	assert_int_equal(ask(&client, 0, 16385), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(status_on(ANSWERS), BLOCK_RANGE);
	assert_int_equal((uint8_t)fake_publish_on(ANSWERS)->payload[6], 16384 >> 8);
	assert_int_equal(fixture_message(&client, GET, "nonsense", 1), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(status_on(ANSWERS), BLOCK_MALFORMED);
	assert_int_equal(fixture_events(f, EVENT_DENIED), 4);

	fake_forget_publishes();
	assert_int_equal(fixture_acl(&thief, MOSQ_ACL_WRITE, GET, "x"), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(ask(&thief, 0, 16), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_acl(&thief, MOSQ_ACL_WRITE, ANSWERS, "x"), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_WRITE, ANSWERS, "x"), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_acl(&thief, MOSQ_ACL_SUBSCRIBE, ANSWERS, NULL), MOSQ_ERR_SUCCESS);
	f->gate->via.known = true; /* until then it might be a gateway */
	assert_int_equal(fixture_acl(&thief, MOSQ_ACL_SUBSCRIBE, ANSWERS, NULL), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_acl(&thief, MOSQ_ACL_READ, ANSWERS, "x"), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, ANSWERS, "x"), MOSQ_ERR_SUCCESS);
	assert_int_equal(fake_publishes(), 0);
	fixture_free(f);
}

static void over_is_over(void **state)
{
	struct mosquitto client = { .id = "dev-1", .protocol_version = 4 };

	(void)state;
	for (int how = 0; how < 5; how++) {
		struct fixture *f = told_fixture(&client);

		held = true;
		assert_int_equal(ask(&client, 0, 16), MOSQ_ERR_SUCCESS);
		assert_int_equal(ask(&client, 16, 16), MOSQ_ERR_SUCCESS);
		if (how == 0) {
			set_live(f, false);
		} else if (how == 1) {
			struct change *gone = change_new(CHANGE_RELEASE_GONE);

			assert_non_null(gone);
			gone->release_id = RELEASE;
			push(f, gone);
		} else if (how == 2) {
			push(f, new_recall("dev-1"));
		} else if (how == 3) {
			fixture_message(&client, "devices/dev-1/ota/status",
				"{\"version\":\"1.0.0\",\"status\":\"FAILED\"}", 1);
		} else {
			fixture_wall_ms += 3600000 + DELIVER_LATE_MS;
		}
		fixture_tick(20);
		held = false;
		fake_forget_publishes();
		fixture_tick(20);
		/* What was on its way does not get out either; after a recall and the like the store is asked. */
		assert_true(status_on(ANSWERS) == BLOCK_DENIED || status_on(ANSWERS) == BLOCK_LATER);
		fake_forget_publishes();
		if (how == 0 || how == 2 || how == 3) {
			(void)ask(&client, 32, 16);
			/* It may not know yet that the device has failed. */
			answer_question(f, "dev-1", how == 3, NULL);
		}
		assert_int_equal(ask(&client, 32, 16), MOSQ_ERR_ACL_DENIED);
		assert_int_equal(status_on(ANSWERS), BLOCK_DENIED);
		client.sub_count = 0;
		fixture_free(f);
	}
}

static void a_paused_rollout_goes_on_for_who_was_told(void **state)
{
	struct mosquitto client = { .id = "dev-1", .protocol_version = 4 };
	struct fixture *f = told_fixture(&client);
	struct change *paused = change_new(CHANGE_ROLLOUT);

	(void)state;
	assert_non_null(paused);
	paused->rollout = ROLLOUT;
	paused->serves = true;
	push(f, paused);
	fixture_tick(20);
	assert_int_equal(ask(&client, 0, 16), MOSQ_ERR_SUCCESS);
	fixture_tick(20);
	assert_int_equal(status_on(ANSWERS), BLOCK_OK);
	fixture_free(f);
}

static void another_session_asks_the_store(void **state)
{
	struct mosquitto client = { .id = "dev-1", .protocol_version = 4, .clean_session = true };
	struct mosquitto next = { .id = "dev-1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = told_fixture(&client);

	(void)state;
	fixture_disconnect(&client, 0);
	assert_int_equal(ask(&next, 0, 16), MOSQ_ERR_SUCCESS);
	assert_int_equal(status_on(ANSWERS), BLOCK_LATER);
	assert_int_equal(fake_publish_on(ANSWERS)->payload[3], 1);
	assert_int_equal(ask(&next, 0, 16), MOSQ_ERR_SUCCESS);
	assert_int_equal(questions, 1); /* not each time */
	answer_question(f, "dev-1", true, NULL);
	assert_int_equal(ask(&next, 0, 16), MOSQ_ERR_SUCCESS);
	fixture_tick(20);
	assert_int_equal(status_on(ANSWERS), BLOCK_OK);

	/* Another answer, for a session that is over, is nobody's. */
	fixture_disconnect(&next, 0);
	answer_question(f, "dev-1", true, NULL);
	assert_int_equal(ask(&client, 0, 16), MOSQ_ERR_SUCCESS);
	assert_int_equal(questions, 2);
	answer_question(f, "dev-1", false, NULL);
	assert_int_equal(ask(&client, 0, 16), MOSQ_ERR_ACL_DENIED);
	assert_int_equal(status_on(ANSWERS), BLOCK_DENIED);
	fixture_free(f);
}

static void only_its_own_gateway(void **state)
{
	struct mosquitto gateway = { .id = "gw-1", .protocol_version = 4 };
	struct fixture *f = block_fixture();
	struct change *names = change_new(CHANGE_GATEWAYS);

	(void)state;
	assert_non_null(names);
	names->text = strdup("gw-1\ngw-2");
	push(f, names);
	fixture_tick(20);
	assert_int_equal(fixture_acl(&gateway, MOSQ_ACL_WRITE, GET, "x"), MOSQ_ERR_SUCCESS);
	assert_int_equal(ask(&gateway, 0, 16), MOSQ_ERR_SUCCESS);
	answer_question(f, "dev-1", true, "gw-2");
	assert_int_equal(ask(&gateway, 0, 16), MOSQ_ERR_ACL_DENIED);
	fixture_tick(6000);
	assert_int_equal(ask(&gateway, 0, 16), MOSQ_ERR_SUCCESS);
	answer_question(f, "dev-1", true, "gw-1");
	fake_forget_publishes();
	assert_int_equal(ask(&gateway, 0, 16), MOSQ_ERR_SUCCESS);
	fixture_tick(20);
	assert_int_equal(status_on(ANSWERS), BLOCK_OK);
	assert_string_equal(fake_publish_on(ANSWERS)->client_id, "gw-1");
	fixture_free(f);
}

static void turns_and_bounds(void **state)
{
	struct mosquitto client = { .id = "dev-1", .protocol_version = 4 };
	struct mosquitto other = { .id = "dev-2", .protocol_version = 4 };
	struct fixture *f = told_fixture(&client);

	(void)state;
	fixture_subscribe(&other, "fleet/north/ota/available");
	fixture_tick(20);
	push(f, new_offer("dev-2", 1));
	fixture_tick(20);
	fixture_tick(20);
	fake_forget_publishes();
	f->gate->options = &f->options;
	f->options.block_bytes_per_second = 16384;
	fixture_tick(20);
	held = true;
	submitted = taken = 0;
	f->gate->blocks->tokens = -100000; /* nothing is read now */
	f->gate->blocks->filled_us = fixture_mono_us;
	for (int i = 0; i < BLOCKS_OUTSTANDING; i++) {
		assert_int_equal(ask(&client, i, 16), MOSQ_ERR_SUCCESS);
	}
	assert_int_equal(ask(&client, 8, 16), MOSQ_ERR_ACL_DENIED); /* and is not answered */
	assert_int_equal(fake_publishes(), 0);
	assert_int_equal(
		ask_on(&other, "devices/dev-2/ota/block/get", SHA256, 100, 16), MOSQ_ERR_SUCCESS);
	assert_int_equal(f->gate->blocks->waiting, BLOCKS_OUTSTANDING + 1);
	f->gate->blocks->tokens = 40; /* two blocks: of each one */
	fixture_tick(0);
	assert_int_equal(submitted, 2);
	assert_int_equal(jobs[0]->offset, 0);
	assert_int_equal(jobs[1]->offset, 100);

	/* A session that ends takes its requests along, also what is being read. */
	fixture_disconnect(&client, 0);
	assert_int_equal(f->gate->blocks->waiting, 0);
	held = false;
	fixture_tick(20);
	assert_null(fake_publish_on(ANSWERS));
	assert_int_equal(status_on("devices/dev-2/ota/block"), BLOCK_OK);
	fixture_free(f);
}

/* Before 2.0.15 a broker may have no tick: then any message of ours does its work. */
static void without_a_tick(void **state)
{
	struct mosquitto client = { .id = "dev-1", .protocol_version = 4 };
	struct fixture *f = told_fixture(&client);

	(void)state;
	f->gate->tick_dead = true;
	held = true;
	assert_int_equal(ask(&client, 0, 16), MOSQ_ERR_SUCCESS);
	held = false;
	assert_null(fake_publish_on(ANSWERS));
	fixture_mono_us += 20000;
	fixture_message(&client, "devices/dev-1/ota/status", "{\"version\":\"1.0.0\"}", 1);
	assert_int_equal(status_on(ANSWERS), BLOCK_OK);
	fixture_free(f);
}

static void no_more_than_the_cap(void **state)
{
	struct mosquitto client = { .id = "dev-1", .protocol_version = 4 };
	struct fixture *f = told_fixture(&client);
	size_t sent = 0;

	(void)state;
	f->options.block_bytes_per_second = 16384;
	f->gate->blocks->tokens = 0;
	f->gate->blocks->filled_us = fixture_mono_us;
	for (int i = 0; i < 1000; i++) { /* ten seconds */
		while (f->gate->blocks->waiting + f->gate->blocks->reading < BLOCKS_OUTSTANDING) {
			if (f->gate->blocks->clients != NULL) {
				f->gate->blocks->clients->given = 0; /* of that see below */
			}
			assert_int_equal(ask(&client, 0, IMAGE), MOSQ_ERR_SUCCESS);
		}
		fixture_tick(10);
	}
	for (size_t i = 0; i < fake_publishes(); i++) {
		sent += (size_t)fake_publish_at(i)->length;
	}
	assert_in_range(sent, 155000, 166000);
	fixture_free(f);
}

/* The bucket loses nothing when it is looked at with every message. */
static void no_less_than_the_cap(void **state)
{
	struct mosquitto client = { .id = "dev-1", .protocol_version = 4 };
	struct fixture *f = told_fixture(&client);
	struct blocks *blocks = f->gate->blocks;

	(void)state;
	f->options.block_bytes_per_second = 16384;
	blocks->tokens = -1000000;
	blocks->filled_us = fixture_mono_us;
	assert_int_equal(ask(&client, 0, IMAGE), MOSQ_ERR_SUCCESS);
	for (int i = 0; i < 10000; i++) {
		fixture_mono_us += 70;
		blocks_work(f->gate);
	}
	assert_in_range(blocks->tokens + 1000000, 11280, 11469);
	/* Nor when nobody looks for long. */
	fixture_mono_us += 10000000;
	blocks_work(f->gate);
	assert_in_range(blocks->tokens + 1000000, 11280 + 163840, 11469 + 163840);
	fixture_free(f);
}

/* After a halt all that waits is refused, but not all of it at once. */
static void a_halt_holds_the_loop_up_by_little(void **state)
{
	enum {
		DEVICES = BLOCKS_TURNS / BLOCKS_OUTSTANDING + 16
	};
	static struct mosquitto clients[DEVICES];
	static char ids[DEVICES][16];
	struct mosquitto first = { .id = "dev-1", .protocol_version = 4 };
	struct fixture *f = told_fixture(&first);
	struct blocks *blocks = f->gate->blocks;
	const size_t all = (size_t)DEVICES * BLOCKS_OUTSTANDING;
	char topic[64];

	(void)state;
	for (size_t i = 0; i < DEVICES; i++) {
		snprintf(ids[i], sizeof(ids[i]), "many-%zu", i);
		clients[i] = (struct mosquitto){ .id = ids[i], .protocol_version = 4 };
		fixture_subscribe(&clients[i], "fleet/north/ota/available");
		push(f, new_offer(ids[i], 1));
	}
	for (size_t i = 0; i < DEVICES; i++) {
		fixture_tick(1000);
	}
	f->options.block_bytes_per_second = 16384;
	blocks->tokens = -1000000;
	blocks->filled_us = fixture_mono_us;
	for (size_t i = 0; i < all; i++) {
		snprintf(topic, sizeof(topic), "devices/%s/ota/block/get", ids[i % DEVICES]);
		assert_int_equal(ask_on(&clients[i % DEVICES], topic, SHA256, (int64_t)(i / DEVICES), 16),
			MOSQ_ERR_SUCCESS);
	}
	assert_int_equal(blocks->waiting, all);
	blocks->tokens = 1000;
	set_live(f, false);
	fixture_tick(20);
	assert_int_equal(blocks->waiting, all - BLOCKS_TURNS);
	fixture_tick(20);
	assert_int_equal(blocks->waiting, 0);
	fixture_free(f);
}

static void no_more_than_the_image_twice(void **state)
{
	struct mosquitto client = { .id = "dev-1", .protocol_version = 4 };
	struct fixture *f = told_fixture(&client);
	int served = 0;

	(void)state;
	while (ask(&client, 0, IMAGE) == MOSQ_ERR_SUCCESS) {
		fixture_tick(20);
		served++;
		assert_true(served < 2000);
	}
	assert_in_range(served, 1024, 1030); /* a MiB more than twice */
	assert_string_equal(fixture_last(f, EVENT_DENIED)->text,
		"in this session the device was given its image more than twice");
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_for_who_was_told),
		cmocka_unit_test(refusals),
		cmocka_unit_test(over_is_over),
		cmocka_unit_test(a_paused_rollout_goes_on_for_who_was_told),
		cmocka_unit_test(another_session_asks_the_store),
		cmocka_unit_test(only_its_own_gateway),
		cmocka_unit_test(turns_and_bounds),
		cmocka_unit_test(without_a_tick),
		cmocka_unit_test(no_more_than_the_cap),
		cmocka_unit_test(no_less_than_the_cap),
		cmocka_unit_test(a_halt_holds_the_loop_up_by_little),
		cmocka_unit_test(no_more_than_the_image_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
