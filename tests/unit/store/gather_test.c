/* When the next batch is begun: at once in a quiet fleet, later while much comes in, and never so late that it matters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ota/store/gather.h"

enum {
	NOW = 5000,
	BATCH_MS = 3,
};

/* A batch that begins at `at_ms` when so many wait, and takes all of them. */
static void batch(struct gather *gather, int64_t at_ms, uint64_t records, uint64_t presence)
{
	assert_int_equal(gather_wait_ms(gather, at_ms, records), 0);
	gather_wrote(gather, at_ms, at_ms + BATCH_MS, records, presence, 0);
}

static void a_quiet_fleet_waits_for_nothing(void **state)
{
	struct gather gather = { 0 };

	(void)state;
	assert_int_equal(gather_wait_ms(&gather, NOW, 0), 0);
	for (int64_t at_ms = NOW; at_ms < NOW + 200; at_ms += BATCH_MS + 1) {
		batch(&gather, at_ms, GATHER_STREAM_FROM - 1, GATHER_STREAM_FROM - 1);
		assert_int_equal(gather_wait_ms(&gather, at_ms + BATCH_MS, 1), 0);
	}
}

static void a_stream_is_written_every_forty_ms(void **state)
{
	struct gather gather = { 0 };

	(void)state;
	batch(&gather, NOW, GATHER_STREAM_FROM, 0);
	assert_int_equal(gather_wait_ms(&gather, NOW + BATCH_MS, 1), GATHER_STREAM_MS - BATCH_MS);
	assert_int_equal(gather_wait_ms(&gather, NOW + 30, 100), GATHER_STREAM_MS - 30);
	assert_int_equal(gather_wait_ms(&gather, NOW + GATHER_STREAM_MS - 1, 100), 1);
	assert_int_equal(gather_wait_ms(&gather, NOW + GATHER_STREAM_MS, 100), 0);
	batch(&gather, NOW + GATHER_STREAM_MS, 100, 0);
	assert_int_equal(
		gather_wait_ms(&gather, NOW + GATHER_STREAM_MS + 10, 0), GATHER_STREAM_MS - 10);
	/* It has ended: who comes next comes at once, and so does who comes after that. */
	batch(&gather, NOW + 2 * GATHER_STREAM_MS, 1, 0);
	assert_int_equal(gather_wait_ms(&gather, NOW + 2 * GATHER_STREAM_MS + BATCH_MS, 1), 0);
}

static void a_batch_that_took_long_is_followed_at_once(void **state)
{
	struct gather gather = { 0 };

	(void)state;
	assert_int_equal(gather_wait_ms(&gather, NOW, 100), 0);
	gather_wrote(&gather, NOW, NOW + GATHER_STREAM_MS, 100, 0, 100);
	assert_int_equal(gather_wait_ms(&gather, NOW + GATHER_STREAM_MS, 100), 0);
}

static void enough_ends_the_wait_of_a_stream(void **state)
{
	struct gather gather = { 0 };

	(void)state;
	batch(&gather, NOW, 100, 0);
	assert_true(gather_wait_ms(&gather, NOW + BATCH_MS, GATHER_STREAM_ENOUGH - 1) > 0);
	assert_int_equal(gather_wait_ms(&gather, NOW + BATCH_MS, GATHER_STREAM_ENOUGH), 0);
	/* For good. */
	assert_int_equal(gather_wait_ms(&gather, NOW + BATCH_MS, 1), 0);
}

/* A batch so large says that more come than a batch every 40 ms makes cheaper. */
static void a_flood_is_written_in_full_batches(void **state)
{
	struct gather gather = { 0 };

	(void)state;
	batch(&gather, NOW, GATHER_FLOOD_FROM - 1, 0);
	assert_int_equal(gather_wait_ms(&gather, NOW + GATHER_STREAM_MS, 1000), 0);
	gather_wrote(&gather, NOW + GATHER_STREAM_MS, NOW + GATHER_STREAM_MS + BATCH_MS, 1000, 0, 0);
	assert_int_equal(gather_wait_ms(&gather, NOW + GATHER_STREAM_MS + BATCH_MS, 100),
		GATHER_FLOOD_MS - BATCH_MS);
	assert_int_equal(gather_wait_ms(&gather, NOW + GATHER_STREAM_MS + 100, GATHER_FLOOD_ENOUGH - 1),
		GATHER_FLOOD_MS - 100);
	assert_int_equal(gather_wait_ms(&gather, NOW + GATHER_STREAM_MS + 101, GATHER_FLOOD_ENOUGH), 0);
	/* It becomes a stream again, and then a quiet fleet. */
	batch(&gather, NOW + 1000, GATHER_FLOOD_FROM, 0);
	assert_int_equal(gather_wait_ms(&gather, NOW + 1000 + GATHER_FLOOD_MS - 1, 1), 1);
	batch(&gather, NOW + 1000 + GATHER_FLOOD_MS, GATHER_FLOOD_FROM - 1, 0);
	assert_int_equal(gather_wait_ms(&gather, NOW + 1000 + GATHER_FLOOD_MS + BATCH_MS, 1),
		GATHER_STREAM_MS - BATCH_MS);
	batch(&gather, NOW + 1000 + GATHER_FLOOD_MS + GATHER_STREAM_MS, 1, 0);
	assert_int_equal(gather_wait_ms(&gather, NOW + 2000, 1), 0);
}

/* What waits when the writing begins is written in as many batches as it takes. */
static void a_backlog_is_written_without_a_pause(void **state)
{
	struct gather gather = { 0 };
	int64_t at_ms = NOW;

	(void)state;
	assert_int_equal(gather_wait_ms(&gather, at_ms, 10000), 0);
	gather_wrote(&gather, at_ms, at_ms + BATCH_MS, 4000, 4000, 6500);
	at_ms += BATCH_MS;
	assert_int_equal(gather_wait_ms(&gather, at_ms, 6500), 0);
	gather_wrote(&gather, at_ms, at_ms + BATCH_MS, 4000, 0, 3000);
	at_ms += BATCH_MS;
	assert_int_equal(gather_wait_ms(&gather, at_ms, 3000), 0);
	/* 2,000 of these 2,001 were among the 10,000. */
	gather_wrote(&gather, at_ms, at_ms + BATCH_MS, 2001, 0, 999);
	assert_int_equal(gather_wait_ms(&gather, at_ms + BATCH_MS, 999), GATHER_FLOOD_MS - BATCH_MS);
}

/* Fewer may be there than were counted, when some were damaged: those that come later are not of the backlog. */
static void what_was_damaged_is_not_waited_for(void **state)
{
	struct gather gather = { 0 };

	(void)state;
	assert_int_equal(gather_wait_ms(&gather, NOW, 1000), 0);
	gather_wrote(&gather, NOW, NOW + BATCH_MS, 100, 0, 0);
	assert_int_equal(gather_wait_ms(&gather, NOW + BATCH_MS, 0), 0);
	batch(&gather, NOW + 10, 50, 0);
	assert_int_equal(gather_wait_ms(&gather, NOW + 10 + BATCH_MS, 1), GATHER_STREAM_MS - BATCH_MS);
}

static void a_storm_is_written_when_it_is_over(void **state)
{
	struct gather gather = { 0 };
	int64_t at_ms = NOW + BATCH_MS;
	uint64_t pending = 0;

	(void)state;
	batch(&gather, NOW, GATHER_STORM_FROM, GATHER_STORM_FROM);
	assert_int_equal(gather_wait_ms(&gather, at_ms, 0), GATHER_LOOK_MS);
	for (int i = 0; i < 4; i++) {
		/* Asked in between, because of a command, it does not look. */
		assert_int_equal(gather_wait_ms(&gather, at_ms + 30, pending), GATHER_LOOK_MS - 30);
		at_ms += GATHER_LOOK_MS;
		pending += GATHER_LOOK_RECORDS;
		assert_int_equal(gather_wait_ms(&gather, at_ms, pending), GATHER_LOOK_MS);
	}
	at_ms += GATHER_LOOK_MS;
	pending += GATHER_LOOK_RECORDS - 1;
	assert_int_equal(gather_wait_ms(&gather, at_ms, pending), 0);
	assert_int_equal(gather_wait_ms(&gather, at_ms, pending + 1000), 0);
}

static void a_storm_that_goes_on_waits_a_second(void **state)
{
	struct gather gather = { 0 };
	int64_t at_ms = NOW + BATCH_MS;
	uint64_t pending = 0;
	int64_t wait_ms;

	(void)state;
	batch(&gather, NOW, 1000, 900);
	while ((wait_ms = gather_wait_ms(&gather, at_ms, pending)) > 0) {
		at_ms += wait_ms;
		pending += 1000;
	}
	assert_int_equal(at_ms, NOW + GATHER_STORM_MS);
	/* All that has come together is written, and then it is gathered again. */
	gather_wrote(&gather, at_ms, at_ms + BATCH_MS, pending - 1, pending - 1, 5000);
	assert_int_equal(gather_wait_ms(&gather, at_ms + BATCH_MS, 5000), 0);
	gather_wrote(&gather, at_ms + BATCH_MS, at_ms + 2 * BATCH_MS, 4000, 4000, 6000);
	at_ms += 2 * BATCH_MS;
	assert_int_equal(gather_wait_ms(&gather, at_ms, 6000), GATHER_LOOK_MS);
	at_ms += GATHER_LOOK_MS;
	assert_int_equal(gather_wait_ms(&gather, at_ms, 6000 + GATHER_LOOK_RECORDS - 1), 0);
}

static void enough_ends_the_wait_of_a_storm(void **state)
{
	struct gather gather = { 0 };

	(void)state;
	batch(&gather, NOW, 1000, 1000);
	assert_true(gather_wait_ms(&gather, NOW + BATCH_MS, GATHER_STORM_ENOUGH - 1) > 0);
	assert_int_equal(gather_wait_ms(&gather, NOW + BATCH_MS, GATHER_STORM_ENOUGH), 0);
}

/* Reports are not held back because some devices come and go among them; a handful of devices is no storm. */
static void what_is_no_storm(void **state)
{
	struct gather gather = { 0 };

	(void)state;
	batch(&gather, NOW, 400, 199);
	assert_int_equal(gather_wait_ms(&gather, NOW + GATHER_STREAM_MS, 100), 0);
	batch(&gather, NOW + 1000, GATHER_STORM_FROM - 1, GATHER_STORM_FROM - 1);
	assert_int_equal(gather_wait_ms(&gather, NOW + 1000 + GATHER_STREAM_MS, 100), 0);
	batch(&gather, NOW + 2000, 400, 200);
	assert_true(gather_wait_ms(&gather, NOW + 2000 + GATHER_STREAM_MS, 100) > 0);
}

/* Reports that follow a storm are gathered as reports. */
static void a_stream_after_a_storm(void **state)
{
	struct gather gather = { 0 };
	const int64_t after_ms = NOW + BATCH_MS + GATHER_LOOK_MS;

	(void)state;
	batch(&gather, NOW, 1000, 1000);
	assert_int_equal(gather_wait_ms(&gather, after_ms, 0), 0);
	batch(&gather, after_ms, 300, 10);
	assert_int_equal(gather_wait_ms(&gather, after_ms + BATCH_MS, 1), GATHER_STREAM_MS - BATCH_MS);
}

static void after_a_reset_nothing_waits(void **state)
{
	struct gather gather = { 0 };

	(void)state;
	batch(&gather, NOW, 1000, 1000);
	gather_reset(&gather);
	assert_int_equal(gather_wait_ms(&gather, NOW + BATCH_MS, 7), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quiet_fleet_waits_for_nothing),
		cmocka_unit_test(a_stream_is_written_every_forty_ms),
		cmocka_unit_test(a_batch_that_took_long_is_followed_at_once),
		cmocka_unit_test(enough_ends_the_wait_of_a_stream),
		cmocka_unit_test(a_flood_is_written_in_full_batches),
		cmocka_unit_test(a_backlog_is_written_without_a_pause),
		cmocka_unit_test(what_was_damaged_is_not_waited_for),
		cmocka_unit_test(a_storm_is_written_when_it_is_over),
		cmocka_unit_test(a_storm_that_goes_on_waits_a_second),
		cmocka_unit_test(enough_ends_the_wait_of_a_storm),
		cmocka_unit_test(what_is_no_storm),
		cmocka_unit_test(a_stream_after_a_storm),
		cmocka_unit_test(after_a_reset_nothing_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
