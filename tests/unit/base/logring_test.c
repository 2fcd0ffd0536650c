/* The log ring: order, cutting, dropping, and two threads at once (also run under ThreadSanitizer). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ota/base/logring.h"

enum {
	LINES = 5000
};

static void test_capacity_is_checked(void **state)
{
	(void)state;
	assert_null(logring_new(0));
	assert_null(logring_new(65537));
	assert_null(logring_new(SIZE_MAX));
	logring_free(NULL);
}

static void test_lines_come_back_in_order(void **state)
{
	struct logring *ring = logring_new(3);
	enum log_level level = LOG_LEVEL_DEBUG;
	char line[LOGRING_LINE_MAX];

	(void)state;
	assert_non_null(ring);
	assert_int_equal(atomic_load(logring_count(ring)), 0);
	assert_false(logring_take(ring, &level, line));
	for (int i = 0; i < 10; i++) {
		char expected[32];

		logring_printf(ring, LOG_LEVEL_WARNING, "line %d", i);
		logring_printf(ring, LOG_LEVEL_ERROR, "again %d", i);
		assert_int_equal(atomic_load(logring_count(ring)), 2);
		(void)snprintf(expected, sizeof(expected), "line %d", i);
		assert_true(logring_take(ring, &level, line));
		assert_int_equal(level, LOG_LEVEL_WARNING);
		assert_string_equal(line, expected);
		(void)snprintf(expected, sizeof(expected), "again %d", i);
		assert_true(logring_take(ring, &level, line));
		assert_int_equal(level, LOG_LEVEL_ERROR);
		assert_string_equal(line, expected);
	}
	assert_int_equal(logring_take_dropped(ring), 0);
	logring_free(ring);
}

static void test_full_ring_drops_the_newest_and_counts(void **state)
{
	struct logring *ring = logring_new(2);
	enum log_level level = LOG_LEVEL_DEBUG;
	char line[LOGRING_LINE_MAX];

	(void)state;
	assert_non_null(ring);
	for (int i = 0; i < 5; i++) {
		logring_printf(ring, LOG_LEVEL_INFO, "%d", i);
	}
	assert_int_equal(logring_take_dropped(ring), 3);
	assert_int_equal(logring_take_dropped(ring), 0);
	assert_true(logring_take(ring, &level, line));
	assert_string_equal(line, "0");
	assert_true(logring_take(ring, &level, line));
	assert_string_equal(line, "1");
	assert_false(logring_take(ring, &level, line));
	logring_free(ring);
}

static void test_long_lines_are_cut(void **state)
{
	struct logring *ring = logring_new(1);
	enum log_level level = LOG_LEVEL_DEBUG;
	char line[LOGRING_LINE_MAX];
	char longer[LOGRING_LINE_MAX * 2];

	(void)state;
	assert_non_null(ring);
	memset(longer, 'y', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	logring_printf(ring, LOG_LEVEL_INFO, "%s", longer);
	memset(line, 0x55, sizeof(line));
	assert_true(logring_take(ring, &level, line));
	assert_int_equal(strlen(line), LOGRING_LINE_MAX - 1);
	logring_free(ring);
}

static void test_one_line_stays_one_line(void **state)
{
	struct logring *ring = logring_new(1);
	enum log_level level = LOG_LEVEL_DEBUG;
	char line[LOGRING_LINE_MAX];

	(void)state;
	assert_non_null(ring);
	logring_printf(ring, LOG_LEVEL_INFO, "device '%s'", "a\n1700000000: all is well\r\x1b[2J\x7f");
	assert_true(logring_take(ring, &level, line));
	assert_string_equal(line, "device 'a?1700000000: all is well??[2J?'");
	logring_free(ring);
}

static atomic_bool finished;

static void *print_all(void *context)
{
	struct logring *ring = context;

	for (int i = 0; i < LINES; i++) {
		logring_printf(ring, LOG_LEVEL_INFO, "%08d", i);
	}
	atomic_store(&finished, true);
	return NULL;
}

static void test_two_threads_lose_nothing_uncounted(void **state)
{
	struct logring *ring = logring_new(8);
	enum log_level level = LOG_LEVEL_DEBUG;
	char line[LOGRING_LINE_MAX];
	char last[LOGRING_LINE_MAX] = "";
	pthread_t printer;
	size_t taken = 0;
	size_t dropped = 0;
	bool done;

	(void)state;
	assert_non_null(ring);
	atomic_store(&finished, false);
	assert_int_equal(pthread_create(&printer, NULL, print_all, ring), 0);
	do {
		done = atomic_load(&finished);
		while (logring_take(ring, &level, line)) {
			assert_true(strcmp(line, last) > 0);
			memcpy(last, line, sizeof(last));
			taken++;
		}
		dropped += logring_take_dropped(ring);
	} while (!done);
	assert_int_equal(pthread_join(printer, NULL), 0);
	assert_int_equal(taken + dropped, LINES);
	logring_free(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_capacity_is_checked),
		cmocka_unit_test(test_lines_come_back_in_order),
		cmocka_unit_test(test_full_ring_drops_the_newest_and_counts),
		cmocka_unit_test(test_long_lines_are_cut),
		cmocka_unit_test(test_one_line_stays_one_line),
		cmocka_unit_test(test_two_threads_lose_nothing_uncounted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
