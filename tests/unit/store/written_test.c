/* Up to when the tables hold all: what is said of it is never too much, and comes to be said under a stream that never ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ota/store/written.h"

static void nothing_is_known_before_the_first_batch(void **state)
{
	struct written written = { 0 };

	(void)state;
	assert_true(written_behind_ms(&written, 5) == INT64_MAX);
	written_begin(&written, 1000, 3);
	assert_true(written_behind_ms(&written, 1000) == INT64_MAX);
	written_add(&written, 2);
	assert_true(written_behind_ms(&written, 1001) == INT64_MAX);
	written_add(&written, 1);
	assert_int_equal(written_behind_ms(&written, 1500), 500);
}

static void an_empty_outbox_is_written_up_to_now(void **state)
{
	struct written written = { 0 };

	(void)state;
	written_begin(&written, 1000, 0);
	written_all(&written, 1000);
	assert_int_equal(written_behind_ms(&written, 1000), 0);
	assert_int_equal(written_behind_ms(&written, 1250), 250);
}

/* A batch holds what has come since, too: it counts for the marked moment, which is when reading began and not when writing ended. */
static void a_batch_counts_for_the_moment_before_it_was_read(void **state)
{
	struct written written = { 0 };

	(void)state;
	written_begin(&written, 1000, 10);
	written_add(&written, 25);
	assert_int_equal(written_behind_ms(&written, 1400), 400);
	/* None waited at 2000, one has come before the outbox was read. */
	written_begin(&written, 2000, 0);
	written_add(&written, 1);
	assert_int_equal(written_behind_ms(&written, 2003), 3);
}

static void a_moment_counts_once_all_its_records_are_written(void **state)
{
	struct written written = { 0 };

	(void)state;
	written_all(&written, 500);
	written_begin(&written, 1000, 9000);
	written_add(&written, 4000);
	assert_int_equal(written_behind_ms(&written, 1100), 600);
	written_begin(&written, 1100, 8000);
	written_add(&written, 4000);
	assert_int_equal(written_behind_ms(&written, 1200), 700);
	written_begin(&written, 1200, 7000);
	written_add(&written, 999);
	assert_int_equal(written_behind_ms(&written, 1300), 800);
	written_begin(&written, 1300, 9000);
	written_add(&written, 1);
	assert_int_equal(written_behind_ms(&written, 1300), 300);
	/* The next moment is that of the next batch, with what waits then. */
	written_begin(&written, 1400, 2);
	written_add(&written, 1);
	assert_int_equal(written_behind_ms(&written, 1500), 500);
	written_add(&written, 1);
	assert_int_equal(written_behind_ms(&written, 1500), 100);
}

/* An outbox that is seen empty says more than the mark, and what waited at the mark does not count twice. */
static void an_empty_outbox_ends_the_mark(void **state)
{
	struct written written = { 0 };

	(void)state;
	written_begin(&written, 1000, 50); /* 40 of them were damaged, or known to the database */
	written_add(&written, 10);
	written_begin(&written, 1100, 0);
	written_all(&written, 1100);
	assert_int_equal(written_behind_ms(&written, 1100), 0);
	written_begin(&written, 1200, 5);
	assert_int_equal(written_behind_ms(&written, 1200), 100);
	written_add(&written, 5);
	assert_int_equal(written_behind_ms(&written, 1200), 0);
}

/*
 * A reader that is now quicker and now slower than what comes, which never stops.  What is said must be true, by the time at which each record
 * came; and it must not fall behind by much more than what waits takes to write.
 */
static void a_stream_that_never_ends(void **state)
{
	enum {
		STEPS = 2000,
		STEP_MS = 30,
		COME = 90, /* a step, all at its end */
		BACKLOG = 3000,
	};
	struct written written = { 0 };
	uint64_t come = BACKLOG;
	uint64_t done = 0;
	int64_t most_ms = 0;

	(void)state;
	for (int step = 0; step < STEPS; step++) {
		const int64_t now_ms = 1000 + (int64_t)step * STEP_MS;
		const uint64_t wanted = step % 10 < 5 ? 40 : 180; /* 110 on average */
		const uint64_t batch = wanted < come - done ? wanted : come - done;
		int64_t behind_ms;

		assert_true(come > done);
		written_begin(&written, now_ms, come - done);
		done += batch;
		written_add(&written, batch);
		come += COME;
		behind_ms = written_behind_ms(&written, now_ms);
		if (behind_ms != INT64_MAX) {
			assert_true(done >= BACKLOG + (uint64_t)(step - behind_ms / STEP_MS) * COME);
		}
		if (step > STEPS / 2 && behind_ms > most_ms) {
			most_ms = behind_ms;
		}
	}
	/* Five slow steps leave 250 more, which is three quick ones. */
	assert_in_range(most_ms, STEP_MS, 12 * STEP_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_known_before_the_first_batch),
		cmocka_unit_test(an_empty_outbox_is_written_up_to_now),
		cmocka_unit_test(a_batch_counts_for_the_moment_before_it_was_read),
		cmocka_unit_test(a_moment_counts_once_all_its_records_are_written),
		cmocka_unit_test(an_empty_outbox_ends_the_mark),
		cmocka_unit_test(a_stream_that_never_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
