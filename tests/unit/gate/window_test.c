/* How much of the broker's thread notices may have: alone, beside others, and how the gate finds out. */
#include "deliver_fixture.h"

enum {
	TURN_US = 100, /* of an idle broker's loop */
	DEVICES = 3000
};

static struct window opened(int64_t now_us)
{
	struct window window = { 0 };

	window_renew(&window, now_us, true);
	window_watch(&window, true, now_us);
	return window;
}

/* Take all there is. */
static int64_t use(struct window *window, int64_t now_us)
{
	int64_t notices;

	window_renew(window, now_us, true);
	notices = window->notices;
	window->notices = 0;
	return notices;
}

/* Notices in so many us of turns; `others` messages in each turn with notices, and `alone` in each without. */
static int64_t use_for(
	struct window *window, int64_t *now_us, int64_t us, unsigned others, unsigned alone)
{
	const int64_t end_us = *now_us + us;
	int64_t all = 0;

	while (*now_us < end_us) {
		int64_t notices = use(window, *now_us);
		/* 20 us each until the loop comes by again */
		unsigned came = notices > 0 ? others : alone;

		*now_us += TURN_US + notices * 20;
		all += notices;
		while (came-- > 0) {
			window_other(window);
		}
	}
	return all;
}

static void test_alone(void **state)
{
	int64_t now_us = 1000000;
	struct window window = opened(now_us);
	(void)state;

	for (int i = 0; i < 50; i++) {
		assert_int_equal(use(&window, now_us), WINDOW_NOTICES);
		assert_int_equal(window.work_us, WINDOW_WORK_US);
		now_us += TURN_US;
	}
	/* However late it comes: the next turn is not far. */
	assert_int_equal(use(&window, now_us + 500000), WINDOW_NOTICES);
}

/* One message and its delivery every 20 ms are nobody's work. */
static void test_trickle(void **state)
{
	int64_t now_us = 1000000;
	struct window window = opened(now_us);
	(void)state;

	for (int i = 0; i < 500; i++) {
		if (i % 4 == 2) {
			window_other(&window);
			window_other(&window);
		}
		assert_int_equal(use(&window, now_us), WINDOW_NOTICES);
		now_us += 5000;
	}
}

static void test_many(void **state)
{
	int64_t now_us = 1000000;
	struct window window = opened(now_us);
	(void)state;

	use(&window, now_us);
	for (int i = 0; i <= WINDOW_OTHERS_MANY; i++) {
		window_other(&window);
	}
	/* Not in this turn any more. */
	now_us += 5000;
	assert_int_equal(use(&window, now_us), 0);
	assert_true(window.held);
	/* Beside steady traffic it is what it is with a window of 20 ms: 25,000 a second and no more. */
	assert_in_range(use_for(&window, &now_us, 1000000, 20, 1), 20000, 25000);
	assert_true(window.held);
}

/* Whoever waits for an answer sends one message a turn: it is found out what he would send if he could. */
static void test_closed_loop(void **state)
{
	int64_t now_us = 1000000;
	struct window window = opened(now_us);
	(void)state;

	/* At most two windows until it is known. */
	use_for(&window, &now_us, 2 * WINDOW_US, 2, 2);
	assert_true(window.held);
	assert_in_range(use_for(&window, &now_us, 1000000, 2, 2), 20000, 25000);
	assert_true(window.held);
	/* He is gone: at the next look they have all of it again. */
	use_for(&window, &now_us, 2 * WINDOW_US, 0, 0);
	assert_false(window.held);
	assert_in_range(use_for(&window, &now_us, 1000000, 0, 0), 48000, 50000);
}

/* Little traffic costs them a look now and then. */
static void test_looks(void **state)
{
	int64_t now_us = 1000000;
	struct window window = opened(now_us);
	int64_t held = 0;
	(void)state;

	for (int ms = 0; ms < 7000; ms++) { /* 500 a second, whatever goes on */
		now_us += 1000;
		if (ms % 2 == 0) {
			window_other(&window);
		}
		(void)use(&window, now_us);
		held += window.held ? 1 : 0;
	}
	assert_in_range(held, 500, 1400);
}

static void test_late(void **state)
{
	int64_t now_us = 1000000;
	struct window window = opened(now_us);
	(void)state;

	window.held = true;
	use(&window, now_us);
	for (int i = 0; i < 2000; i++) {
		window_other(&window);
	}
	assert_int_equal(use(&window, now_us + WINDOW_US - 1), 0);
	/* A window that comes late may do as much as the time that has passed, and three times as much at most. */
	now_us += WINDOW_US * 3 / 2;
	assert_int_equal(use(&window, now_us), WINDOW_NOTICES * 3 / 2);
	for (int i = 0; i < 2000; i++) {
		window_other(&window);
	}
	assert_int_equal(use(&window, now_us + 500000), WINDOW_NOTICES * 3);
}

/* Where no tick comes, a call is no turn of the loop: many may come before it looks at its sockets. */
static void test_no_turns(void **state)
{
	int64_t now_us = 1000000;
	struct window window = opened(now_us);
	int64_t all = 0;
	(void)state;

	for (int i = 0; i < 1000; i++) {
		window_renew(&window, now_us, false);
		all += window.notices;
		window.notices = 0;
		now_us += 100;
	}
	assert_in_range(all, 2000, 3000);
}

/* Between two pages of offers nobody counts; what was known stays known for a moment. */
static void test_pause(void **state)
{
	int64_t now_us = 1000000;
	struct window window = opened(now_us);
	(void)state;

	use_for(&window, &now_us, 100000, 50, 5);
	assert_true(window.held);
	window_watch(&window, false, now_us);
	use(&window, now_us + WINDOW_BELIEVED_US);
	assert_true(window.held);
	use(&window, now_us + WINDOW_BELIEVED_US + 1);
	assert_false(window.held);
}

static void connect_all(struct fixture *f, struct mosquitto clients[], char ids[][16], int count)
{
	for (int i = 0; i < count; i++) {
		snprintf(ids[i], sizeof(ids[i]), "p%d", i);
		clients[i] = (struct mosquitto){ .id = ids[i], .clean_session = true };
		fixture_subscribe(&clients[i], "fleet/north/ota/available");
	}
	fixture_tick(200);
	assert_int_equal(fake_publishes(), 0);
	fixture_forget(f);
}

static void offer_all(struct fixture *f, char ids[][16], int count, int32_t attempt)
{
	for (int i = 0; i < count; i++) {
		push(f, new_offer(ids[i], attempt));
	}
}

/* So many messages, each for one receiver. */
static void traffic(struct mosquitto *client, int count)
{
	for (int i = 0; i < count; i++) {
		assert_int_equal(fixture_message(client, "lamp/1", "on", 0), MOSQ_ERR_SUCCESS);
		assert_int_equal(fixture_acl(client, MOSQ_ACL_READ, "lamp/1", "on"), MOSQ_ERR_SUCCESS);
	}
}

static void test_gate(void **state)
{
	static struct mosquitto clients[DEVICES];
	static char ids[DEVICES][16];
	struct mosquitto any = { .id = "d0", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&any);
	const int closer = f->gate->closer;
	size_t sent;
	(void)state;

	connect_all(f, clients, ids, DEVICES);
	fixture_mono_us += 500000;
	offer_all(f, ids, DEVICES, 1);
	/* Alone: one window a turn, whatever the time. */
	fixture_tick(0);
	fixture_tick(0);
	assert_int_equal(fake_publishes(), 2 * WINDOW_NOTICES);
	fixture_mono_us += 10;
	fixture_tick(0);
	assert_int_equal(fake_publishes(), 3 * WINDOW_NOTICES);
	/* What devices report is no reason to hold back. */
	for (int i = 0; i < 100; i++) {
		char topic[64];

		snprintf(topic, sizeof(topic), "devices/p%d/ota/status", i);
		assert_int_equal(fixture_acl(&clients[i], MOSQ_ACL_WRITE, topic, "{}"), MOSQ_ERR_SUCCESS);
		assert_int_equal(fixture_message(&clients[i], topic, "{}", 1), MOSQ_ERR_SUCCESS);
	}
	fixture_tick(0);
	assert_int_equal(fake_publishes(), 4 * WINDOW_NOTICES);
	/* Others' messages and deliveries are. */
	traffic(&any, WINDOW_OTHERS_MANY / 2 + 1);
	fixture_tick(0);
	/* They have had four windows in no time: the next one is the one after the next. */
	for (int i = 0; i < 390; i++) {
		traffic(&any, 1);
		fixture_mono_us += 100;
		fixture_tick(0);
	}
	assert_int_equal(fake_publishes(), 4 * WINDOW_NOTICES);
	for (int i = 0; i < 200; i++) {
		traffic(&any, 1);
		fixture_mono_us += 100;
		fixture_tick(0);
	}
	assert_int_equal(fake_publishes(), 5 * WINDOW_NOTICES);
	/* They have ended: the rest goes out, and nothing is counted any more. */
	sent = fake_publishes();
	fixture_tick(20);
	fixture_tick(1);
	assert_int_equal(fake_publishes(), sent + WINDOW_NOTICES);
	assert_false(f->gate->attentive);
	assert_int_equal(f->gate->closer, closer);
	traffic(&any, 1);
	assert_int_equal(f->gate->deliver.window.others, 0);

	/* Slow work ends a window early: 1 ms a look at the clock. */
	fake_forget_publishes();
	offer_all(f, ids, 100, 2);
	fixture_step_us = 1000;
	fixture_tick(40);
	assert_in_range(fake_publishes(), 1, 8);
	fixture_step_us = 0;
	fixture_tick(40);
	assert_int_equal(fake_publishes(), 100);
	fixture_free(f);
}

/* A page that comes just after the last PUBACKs woke the loop goes out now: the next turn may be 100 ms away. */
static void test_next_page(void **state)
{
	static struct mosquitto clients[2];
	static char ids[2][16];
	struct mosquitto any = { .id = "d0", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&any);
	(void)state;

	connect_all(f, clients, ids, 2);
	push(f, new_offer(ids[0], 1));
	fixture_tick(100);
	assert_int_equal(fake_publishes(), 1);
	push(f, new_offer(ids[1], 1));
	fixture_tick(1);
	assert_int_equal(fake_publishes(), 2);
	fixture_free(f);
}

static void push_page(struct fixture *f, char ids[][16], size_t count, bool more)
{
	for (size_t i = 0; i < count; i++) {
		struct change *offer = new_offer(ids[i], 1);

		offer->more = more;
		push(f, offer);
	}
}

/* While the next page is on its way the last ones of this one go one a turn, so that there is always one to be acknowledged. */
static void test_spread(void **state)
{
	enum {
		FIRST = WINDOW_SPREAD + 44,
		ALL = FIRST + 2 * WINDOW_SPREAD
	};
	static struct mosquitto clients[ALL];
	static char ids[ALL][16];
	struct mosquitto any = { .id = "d0", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&any);
	(void)state;

	connect_all(f, clients, ids, ALL);
	fixture_tick(100);
	push_page(f, ids, FIRST, true);
	fixture_tick(1);
	assert_int_equal(fake_publishes(), FIRST - WINDOW_SPREAD);
	for (size_t i = 1; i <= 20; i++) {
		fixture_tick(1);
		assert_int_equal(fake_publishes(), FIRST - WINDOW_SPREAD + i);
	}
	/* It is here, and the last one: nothing waits for anything. */
	push_page(f, ids + FIRST, WINDOW_SPREAD, false);
	fixture_tick(1);
	assert_int_equal(fake_publishes(), FIRST + WINDOW_SPREAD);

	/* A page that does not come is waited for, but not for long. */
	push_page(f, ids + FIRST + WINDOW_SPREAD, WINDOW_SPREAD, true);
	fixture_tick(1);
	assert_int_equal(fake_publishes(), FIRST + WINDOW_SPREAD + 1);
	fixture_tick(WINDOW_SPREAD_US / 1000);
	assert_int_equal(fake_publishes(), ALL);
	fixture_free(f);
}

/* Others keep the loop awake. */
static void test_spread_held(void **state)
{
	int64_t now_us = 1000000;
	struct window window = opened(now_us);
	(void)state;

	assert_true(window_spread(&window, WINDOW_SPREAD, true, now_us));
	assert_false(window_spread(&window, WINDOW_SPREAD + 1, true, now_us));
	assert_false(window_spread(&window, WINDOW_SPREAD, false, now_us));
	window.held = true;
	assert_false(window_spread(&window, WINDOW_SPREAD, true, now_us));
	window.held = false;
	assert_true(window_spread(&window, 1, true, now_us + WINDOW_SPREAD_US));
	assert_true(window_spread(&window, 1, true, now_us + 2 * WINDOW_SPREAD_US - 1));
	assert_false(window_spread(&window, 1, true, now_us + 2 * WINDOW_SPREAD_US));
}

/* 2.1 is asked to come with each turn, while there is something to send and nobody to wait for. */
static void test_modern(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_new(true);
	(void)state;

	give_release(f);
	set_live(f, true);
	fixture_subscribe(&client, "fleet/north/ota/available");
	assert_int_equal(fixture_tick(20), 100);
	fixture_step_us = 5000;
	push(f, new_offer("d1", 1));
	push(f, new_offer("d1", 2));
	assert_int_equal(fixture_tick(20), 0);
	f->gate->deliver.window.held = true;
	fixture_step_us = 0;
	fixture_mono_us = f->gate->deliver.window.began_us;
	f->gate->deliver.window.notices = 0;
	assert_int_equal(fixture_tick(10), 10);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_trickle),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_closed_loop),
		cmocka_unit_test(test_looks),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_no_turns),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_next_page),
		cmocka_unit_test(test_spread),
		cmocka_unit_test(test_spread_held),
		cmocka_unit_test(test_modern),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
