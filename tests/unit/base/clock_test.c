/* The clocks against the system's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "ota/base/clock.h"

static void sleep_ms(long ms)
{
	struct timespec wait = { .tv_sec = 0, .tv_nsec = ms * 1000000 };

	assert_int_equal(nanosleep(&wait, NULL), 0);
}

static void test_mono_counts_milliseconds(void **state)
{
	int64_t before = clock_mono_ms();
	int64_t waited;

	(void)state;
	sleep_ms(30);
	waited = clock_mono_ms() - before;
	assert_in_range(waited, 29, 20000);
}

static void test_mono_us_is_the_same_clock(void **state)
{
	int64_t before = clock_mono_ms();
	int64_t us = clock_mono_us();
	int64_t after = clock_mono_ms();

	(void)state;
	assert_true(us / 1000 >= before && us / 1000 <= after);
}

static void test_mono_never_goes_back(void **state)
{
	int64_t last = clock_mono_us();

	(void)state;
	for (int i = 0; i < 10000; i++) {
		int64_t now = clock_mono_us();

		assert_true(now >= last);
		last = now;
	}
}

static void test_coarse_follows(void **state)
{
	int64_t before = clock_mono_us();
	int64_t behind;
	int64_t coarse;

	(void)state;
	for (int i = 0; i < 50; i++) {
		sleep_ms(1);
		coarse = clock_coarse_us();
		assert_true(coarse <= clock_mono_us());
	}
	behind = clock_mono_us() - coarse;
	assert_in_range(behind, 0, 20000000);
	assert_true(coarse - before
		> 20000); /* 50 ms at least have passed, a timer interrupt is 10 ms at most */
}

static void test_wall_is_unix_time(void **state)
{
	time_t before = time(NULL);
	int64_t wall = clock_wall_ms();
	time_t after = time(NULL);

	(void)state;
	/* time() may read a coarse clock that is a tick behind. */
	assert_true(wall >= (int64_t)before * 1000 && wall < ((int64_t)after + 2) * 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mono_counts_milliseconds),
		cmocka_unit_test(test_mono_us_is_the_same_clock),
		cmocka_unit_test(test_mono_never_goes_back),
		cmocka_unit_test(test_coarse_follows),
		cmocka_unit_test(test_wall_is_unix_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
