/* The bounds of decorrelated jitter, and that it spreads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ota/base/backoff.h"

static void test_each_wait_is_between_base_and_three_times_the_last(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct backoff backoff = { .base_ms = 100, .cap_ms = 30000, .random = seed };
		int64_t last = 100;

		for (int i = 0; i < 50; i++) {
			int64_t wait = backoff_next(&backoff);

			assert_true(wait >= 100);
			assert_true(wait <= last * 3);
			assert_true(wait <= 30000);
			last = wait;
		}
	}
}

static void test_it_grows_to_the_cap_and_starts_over(void **state)
{
	struct backoff backoff = { .base_ms = 100, .cap_ms = 5000, .random = 7 };
	int64_t largest = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		int64_t wait = backoff_next(&backoff);

		largest = wait > largest ? wait : largest;
	}
	assert_int_equal(largest, 5000);
	backoff_reset(&backoff);
	assert_true(backoff_next(&backoff) <= 300);
}

static void test_brokers_that_start_together_spread(void **state)
{
	enum {
		BROKERS = 100,
		BUCKETS = 10
	};
	int buckets[BUCKETS] = { 0 };

	(void)state;
	for (uint64_t seed = 0; seed < BROKERS; seed++) {
		struct backoff backoff = { .base_ms = 1000, .cap_ms = 60000, .random = seed };

		buckets[(backoff_next(&backoff) - 1000) * BUCKETS / 2001]++;
	}
	for (int i = 0; i < BUCKETS; i++) {
		assert_in_range(buckets[i], 1, BROKERS / 3);
	}
}

static void test_strange_settings_never_give_a_busy_loop_or_overflow(void **state)
{
	struct backoff zero = { 0 };
	struct backoff negative = { .base_ms = -5, .cap_ms = -7, .last_ms = -9 };
	struct backoff huge = { .base_ms = 1, .cap_ms = INT64_MAX, .last_ms = INT64_MAX - 1 };
	struct backoff cap_below_base = { .base_ms = 500, .cap_ms = 100 };

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_true(backoff_next(&zero) >= 1);
		assert_true(backoff_next(&negative) >= 1);
		assert_true(backoff_next(&huge) >= 1);
		assert_int_equal(backoff_next(&cap_below_base), 500);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_wait_is_between_base_and_three_times_the_last),
		cmocka_unit_test(test_it_grows_to_the_cap_and_starts_over),
		cmocka_unit_test(test_brokers_that_start_together_spread),
		cmocka_unit_test(test_strange_settings_never_give_a_busy_loop_or_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
