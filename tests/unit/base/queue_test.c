/* The queue: order, bounds, ownership, and two threads at once (also run under ThreadSanitizer). */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "ota/base/queue.h"

enum {
	ITEMS = 20000
};

static int numbers[ITEMS];
static size_t released;

static void count_release(void *item)
{
	assert_ptr_equal(item, &numbers[released + 3]);
	released++;
}

static void test_capacity_is_checked(void **state)
{
	struct queue *queue = queue_new(1048576);

	(void)state;
	assert_null(queue_new(0));
	assert_null(queue_new(1048577));
	assert_null(queue_new(SIZE_MAX));
	assert_non_null(queue);
	assert_int_equal(queue_room(queue), 1048576);
	queue_free(queue, NULL);
	queue_free(NULL, NULL);
}

static void test_order_and_bounds_survive_wrapping(void **state)
{
	struct queue *queue = queue_new(3);
	size_t in = 0;
	size_t out = 0;

	(void)state;
	assert_non_null(queue);
	assert_int_equal(atomic_load(queue_count(queue)), 0);
	assert_null(queue_pop(queue));
	for (int round = 0; round < 10; round++) {
		while (queue_room(queue) > 0) {
			assert_true(queue_push(queue, &numbers[in++]));
		}
		assert_false(queue_push(queue, &numbers[in]));
		assert_int_equal(queue_length(queue), 3);
		assert_int_equal(atomic_load(queue_count(queue)), 3);
		assert_ptr_equal(queue_pop(queue), &numbers[out++]);
		assert_ptr_equal(queue_pop(queue), &numbers[out++]);
		assert_int_equal(queue_length(queue), 1);
		assert_int_equal(queue_room(queue), 2);
	}
	queue_free(queue, NULL);
}

static void test_nothing_is_not_an_item(void **state)
{
	struct queue *queue = queue_new(2);

	(void)state;
	assert_non_null(queue);
	assert_false(queue_push(queue, NULL));
	assert_int_equal(queue_length(queue), 0);
	queue_free(queue, NULL);
}

static void test_items_left_are_released_in_order(void **state)
{
	struct queue *queue = queue_new(4);

	(void)state;
	assert_non_null(queue);
	for (size_t i = 0; i < 4; i++) {
		assert_true(queue_push(queue, &numbers[i]));
	}
	for (size_t i = 0; i < 3; i++) {
		assert_ptr_equal(queue_pop(queue), &numbers[i]);
	}
	assert_true(queue_push(queue, &numbers[4]));
	assert_true(queue_push(queue, &numbers[5]));
	released = 0;
	queue_free(queue, count_release);
	assert_int_equal(released, 3);
}

static void *push_all(void *context)
{
	struct queue *queue = context;

	for (size_t i = 0; i < ITEMS; i++) {
		numbers[i] = (int)i; /* handed over by the queue: a race here is one of the queue */
		while (!queue_push(queue, &numbers[i])) {
			(void)sched_yield();
		}
	}
	return NULL;
}

static void test_two_threads(void **state)
{
	struct queue *queue = queue_new(16);
	pthread_t pusher;
	size_t taken = 0;

	(void)state;
	assert_non_null(queue);
	assert_int_equal(pthread_create(&pusher, NULL, push_all, queue), 0);
	while (taken < ITEMS) {
		const int *item = queue_pop(queue);

		if (!item) {
			(void)sched_yield();
			continue;
		}
		assert_int_equal(*item, (int)taken);
		assert_true(queue_length(queue) <= 16);
		taken++;
	}
	assert_int_equal(pthread_join(pusher, NULL), 0);
	assert_null(queue_pop(queue));
	queue_free(queue, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_capacity_is_checked),
		cmocka_unit_test(test_order_and_bounds_survive_wrapping),
		cmocka_unit_test(test_nothing_is_not_an_item),
		cmocka_unit_test(test_items_left_are_released_in_order),
		cmocka_unit_test(test_two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
