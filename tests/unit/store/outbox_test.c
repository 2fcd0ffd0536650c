/* What the outbox promises when nothing is broken: order, restart, commit, numbering, waking. */
#include <poll.h>

#include "outbox_fixture.h"

static void test_round_trip(void **state)
{
	struct fixture *f = *state;
	reopen(f);
	skip_to(f, 0);
	expect_range(f, 1, 0);
	append_range(f, 1, 1000);
	assert_int_equal(outbox_pending_records(f->outbox), 1000);
	expect_range(f, 1, 1000);
	expect_range(f, 1001, 1000);
	append_range(f, 1001, 1001);
	expect_range(f, 1001, 1001);
	assert_string_equal(f->reports, "");
}

static void test_sizes(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[OUTBOX_RECORD_MAX + 1];
	static const size_t good[] = { 1, 7, 8, 9, 4096, OUTBOX_RECORD_MAX - 1, OUTBOX_RECORD_MAX };
	enum {
		GOOD = sizeof good / sizeof *good
	};
	reopen(f);
	skip_to(f, 0);
	assert_int_equal(outbox_append(f->outbox, data, 0, NULL, &f->why), OTA_ERR_INVALID);
	assert_int_equal(
		outbox_append(f->outbox, data, OUTBOX_RECORD_MAX + 1, NULL, &f->why), OTA_ERR_INVALID);
	assert_non_null(strstr(f->why.text, "65537"));
	for (size_t i = 0; i < GOOD; i++) {
		memset(data, (int)i + 1, good[i]);
		assert_ok(outbox_append(f->outbox, data, good[i], NULL, &f->why));
	}
	/* A limit of one byte still gives one record at a time. */
	for (size_t i = 0; i < GOOD; i++) {
		struct outbox_batch batch;
		assert_ok(outbox_read(f->outbox, &batch, 100, 1, &f->why));
		assert_int_equal(batch.count, 1);
		assert_int_equal(batch.records[0].sequence, i + 1);
		assert_int_equal(batch.records[0].size, good[i]);
		assert_int_equal(batch.records[0].data[good[i] - 1], i + 1);
	}
}

static void test_batch_limits(void **state)
{
	struct fixture *f = *state;
	static const struct {
		size_t records, bytes;
		enum ota_err err;
	} cases[] = {
		{ 0, 1, OTA_ERR_INVALID },
		{ 1, 0, OTA_ERR_INVALID },
		{ OUTBOX_BATCH_RECORDS_MAX + 1, 1, OTA_ERR_INVALID },
		{ 1, OUTBOX_BATCH_BYTES_MAX + 1, OTA_ERR_INVALID },
		{ 1, 1, OTA_OK },
	};
	struct outbox_batch batch;
	reopen(f);
	append_range(f, 1, 50);
	assert_int_equal(outbox_read(f->outbox, &batch, 1, 1, &f->why), OTA_ERR_STATE);
	skip_to(f, 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(outbox_read(f->outbox, &batch, cases[i].records, cases[i].bytes, &f->why),
			cases[i].err);
	assert_ok(outbox_read(f->outbox, &batch, 10, 1000, &f->why));
	size_t bytes = 0;
	for (size_t i = 0; i < batch.count; i++)
		bytes += batch.records[i].size;
	assert_true(batch.count > 1 && bytes <= 1000);
}

static void test_restart(void **state)
{
	struct fixture *f = *state;
	uint64_t next = 1;
	for (int run = 0; run < 5; run++) { /* over several segments, without a commit */
		reopen(f);
		assert_int_equal(outbox_pending_records(f->outbox), next - 1);
		append_range(f, next, next + 399);
		next += 400;
		skip_to(f, 0);
		expect_range(f, 1, next - 1);
		assert_string_equal(f->reports, "");
	}
	assert_true(files_with(f, ".log") > 3);
}

static void test_commit_trims(void **state)
{
	struct fixture *f = *state;
	reopen(f);
	skip_to(f, 0);
	append_range(f, 1, 2000);
	int files = files_with(f, ".log");
	assert_true(files > 3);
	assert_int_equal(outbox_commit(f->outbox, 1, &f->why), OTA_ERR_INVALID); /* not read */
	expect_range(f, 1, 2000);
	assert_int_equal(outbox_commit(f->outbox, 2001, &f->why), OTA_ERR_INVALID);
	uint64_t bytes = outbox_pending_bytes(f->outbox);
	assert_ok(outbox_commit(f->outbox, 1500, &f->why)); /* not the end of a batch */
	assert_int_equal(outbox_pending_records(f->outbox), 500);
	assert_in_range(outbox_pending_bytes(f->outbox), bytes / 5, bytes / 3);
	assert_true(files_with(f, ".log") < files);
	assert_ok(outbox_commit(f->outbox, 1000, &f->why)); /* behind: accepted */
	assert_int_equal(outbox_pending_records(f->outbox), 500);
	expect_range(f, 2001, 2000); /* the reader did not move */
	reopen(f);
	skip_to(f, 0);
	expect_range(f, 1501, 2000);
	assert_ok(outbox_commit(f->outbox, 2000, &f->why));
	assert_int_equal(outbox_pending_records(f->outbox), 0);
	assert_int_equal(outbox_pending_bytes(f->outbox), 0);
	assert_int_equal(files_with(f, ".log"), 1);
	for (int i = 0; i < 3; i++) {
		reopen(f);
		assert_int_equal(files_with(f, ".log"), 1);
		assert_string_equal(f->reports, "");
	}
	append_range(f, 2001, 2001); /* numbers are not used again */
}

static void test_rewind(void **state)
{
	struct fixture *f = *state;
	reopen(f);
	skip_to(f, 0);
	append_range(f, 1, 1200);
	expect_range(f, 1, 1200);
	outbox_rewind(f->outbox);
	expect_range(f, 1, 1200);
	assert_ok(outbox_commit(f->outbox, 700, &f->why));
	outbox_rewind(f->outbox);
	expect_range(f, 701, 1200);
	assert_ok(outbox_commit(f->outbox, 1200, &f->why));
	outbox_rewind(f->outbox);
	expect_range(f, 1201, 1200);
	append_range(f, 1201, 1300);
	expect_range(f, 1201, 1300);
}

/* What the database says at a connect, and what is read then. */
static void test_skip_to(void **state)
{
	static const struct {
		uint64_t appended, skip, first, last, shift;
		const char *report;
	} cases[] = {
		{ 1000, 0, 1, 1000, 0, "" },
		{ 1000, 400, 401, 1000, 0, "" },
		{ 1000, 999, 1000, 1000, 0, "" },
		{ 1000, 1000, 1001, 1000, 0, "" },
		/* the tail was lost with the power: what is left is all stored */
		{ 1000, 5000, 1001, 1000, 4000, "numbered from 5001 on" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fixture own;
		struct fixture *f = &own;
		void *own_state = malloc(sizeof own); /* teardown() frees it */
		assert_non_null(own_state);
		fixture_init(f);
		reopen(f);
		skip_to(f, 0);
		append_range(f, 1, cases[i].appended);
		reopen(f);
		skip_to(f, cases[i].skip);
		expect_range_shifted(f, cases[i].first, cases[i].last, cases[i].shift, 100);
		if (cases[i].report[0] == '\0')
			assert_string_equal(f->reports, "");
		else
			assert_non_null(strstr(f->reports, cases[i].report));
		uint64_t sequence = 0;
		assert_ok(outbox_append(f->outbox, "x", 1, &sequence, &f->why));
		assert_int_equal(sequence, cases[i].appended + cases[i].shift + 1);
		memcpy(own_state, f, sizeof own);
		(void)teardown(&own_state);
	}
	(void)state;
}

/* The directory was deleted while the database knows 1000 events: the new ones are not repetitions. */
static void test_deleted_directory(void **state)
{
	struct fixture *f = *state;
	reopen(f);
	append_range(f, 1, 30);
	reopen(f); /* restarted before the database was reached */
	append_range(f, 31, 50);
	skip_to(f, 1000);
	assert_non_null(strstr(f->reports, "numbered from 1001 on"));
	expect_range_shifted(f, 1, 50, 1000, 7);
	assert_ok(outbox_commit(f->outbox, 1020, &f->why));
	reopen(f);
	assert_int_equal(outbox_pending_records(f->outbox), 30);
	uint64_t sequence = 0;
	assert_ok(outbox_append(f->outbox, "x", 1, &sequence, &f->why));
	assert_int_equal(sequence, 1051);
	skip_to(f, 1030); /* the position was written before the last commits */
	struct outbox_batch batch;
	assert_ok(outbox_read(f->outbox, &batch, 100, 1 << 20, &f->why));
	assert_int_equal(batch.count, 21);
	assert_int_equal(batch.records[0].sequence, 1031);
	assert_string_equal(f->reports, "");
}

/* The end of the log was lost with the power; events came before the database was reached again. */
static void test_lost_tail(void **state)
{
	struct fixture *f = *state;
	char path[256];
	static uint8_t bytes[OUTBOX_SEGMENT_MIN];
	reopen(f);
	skip_to(f, 0);
	append_range(f, 1, 95);
	segment_path(f, 1, path, sizeof path);
	size_t size = file_load(path, bytes, sizeof bytes);
	append_range(f, 96, 100); /* sent, stored, not on the disk */
	outbox_close(f->outbox);
	f->outbox = NULL;
	file_store(path, bytes, size);
	reopen(f);
	append_range(f, 96, 98);
	reopen(f);
	append_range(f, 99, 99);
	skip_to(f, 100);
	expect_range_shifted(f, 96, 99, 5, 100); /* as 101 .. 104 */
}

/* The position reached the disk, the end of the log did not: its numbers are not used again. */
static void test_lost_committed_tail(void **state)
{
	struct fixture *f = *state;
	char path[256];
	static uint8_t bytes[OUTBOX_SEGMENT_MIN];
	reopen(f);
	skip_to(f, 0);
	append_range(f, 1, 95);
	segment_path(f, 1, path, sizeof path);
	size_t size = file_load(path, bytes, sizeof bytes);
	append_range(f, 96, 400);
	expect_range(f, 1, 400);
	assert_ok(outbox_commit(f->outbox, 400, &f->why));
	outbox_close(f->outbox);
	f->outbox = NULL;
	file_store(path, bytes, size);
	for (uint64_t next = 401; next < 404; next++) {
		reopen(f);
		append_range(f, next, next);
		skip_to(f, 400);
		expect_range(f, 401, next);
	}
}

/* Renumbered, and then the position file is lost: the files know the numbering too. */
static void test_renumbered_position_lost(void **state)
{
	struct fixture *f = *state;
	char path[256];
	uint8_t data[RECORD_FILL_MAX];
	reopen(f);
	skip_to(f, 1000);
	for (uint64_t i = 1; i <= 1000; i++)
		assert_ok(outbox_append(f->outbox, data, record_fill(i, data), NULL, &f->why));
	outbox_close(f->outbox);
	f->outbox = NULL;
	(void)snprintf(path, sizeof path, "%s/outbox.position", f->directory);
	assert_int_equal(unlink(path), 0);
	reopen(f);
	skip_to(f, 1100);
	expect_range_shifted(f, 101, 1000, 1000, 100);
}

/* A connection lost during COMMIT: the database says afterwards how far it came. */
static void test_skip_to_again(void **state)
{
	struct fixture *f = *state;
	reopen(f);
	skip_to(f, 0);
	append_range(f, 1, 100);
	expect_range(f, 1, 100);
	append_range(f, 101, 120);
	skip_to(f, 60);
	expect_range(f, 61, 120);
	skip_to(f, 120);
	expect_range(f, 121, 120);
	skip_to(f, 50); /* the database was restored from a backup */
	assert_non_null(strstr(f->reports, "restored from a backup"));
	append_range(f, 121, 121);
	expect_range(f, 121, 121);
	assert_int_equal(outbox_skip_to(f->outbox, (uint64_t)INT64_MAX + 1, &f->why), OTA_ERR_INVALID);
}

static bool readable(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	return poll(&poll_fd, 1, 0) == 1;
}

static void test_wake(void **state)
{
	struct fixture *f = *state;
	reopen(f);
	skip_to(f, 0);
	int fd = outbox_wake_fd(f->outbox);
	append_range(f, 1, 1);
	assert_false(readable(fd)); /* nobody sleeps: no system call */
	assert_false(outbox_idle(f->outbox));
	expect_range(f, 1, 1);
	assert_true(outbox_idle(f->outbox));
	assert_false(readable(fd));
	append_range(f, 2, 3);
	assert_true(readable(fd));
	expect_range(f, 2, 3);
	assert_true(outbox_idle(f->outbox));
	assert_false(readable(fd));
}

static void gather_range(struct fixture *f, uint64_t from, uint64_t to)
{
	uint8_t data[RECORD_FILL_MAX];
	for (uint64_t i = from; i <= to; i++)
		assert_ok(outbox_gather(f->outbox, data, record_fill(i, data), &f->why));
}

/* What is gathered waits for an append, a flush, the bound or the end, and keeps its place. */
static void test_gather(void **state)
{
	struct fixture *f = *state;
	struct outbox_batch batch;
	reopen(f);
	skip_to(f, 0);
	assert_ok(outbox_flush(f->outbox, &f->why)); /* nothing to do */
	expect_range(f, 1, 0);
	assert_true(outbox_idle(f->outbox));
	gather_range(f, 1, 10);
	assert_false(readable(outbox_wake_fd(f->outbox)));
	assert_int_equal(outbox_pending_records(f->outbox), 0);
	append_range(f, 11, 11); /* with its number, behind them */
	assert_true(readable(outbox_wake_fd(f->outbox)));
	assert_int_equal(outbox_pending_records(f->outbox), 11);
	expect_range(f, 1, 11);

	gather_range(f, 12, 13);
	assert_ok(outbox_read(f->outbox, &batch, 10, 1 << 20, &f->why));
	assert_int_equal(batch.count, 0);
	assert_ok(outbox_flush(f->outbox, &f->why));
	expect_range(f, 12, 13);

	/* Half a megabyte: over the bound again and again, and into new files. */
	gather_range(f, 14, 2000);
	const uint64_t written = outbox_pending_records(f->outbox);
	assert_in_range(written, 1800, 1999);
	expect_range(f, 14, written);
	reopen(f); /* the end writes what waits */
	skip_to(f, written);
	expect_range(f, written + 1, 2000);
	assert_ok(outbox_commit(f->outbox, 2000, &f->why));
	assert_string_equal(f->reports, "");
}

/* Large records among those that wait: at the bound, beyond it, and the largest. */
static void test_gather_large(void **state)
{
	struct fixture *f = *state;
	static const size_t sizes[] = { 1, OUTBOX_GATHER_BYTES - 64, 1, OUTBOX_GATHER_BYTES, 1,
		OUTBOX_RECORD_MAX, 1, OUTBOX_GATHER_BYTES - 16 };
	static uint8_t data[OUTBOX_RECORD_MAX];
	struct outbox_batch batch;
	reopen(f);
	skip_to(f, 0);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		memset(data, (int)i + 1, sizes[i]);
		assert_ok(outbox_gather(f->outbox, data, sizes[i], &f->why));
	}
	memset(data, 77, sizeof data); /* does not fit behind what waits */
	uint64_t sequence = 0;
	assert_ok(outbox_append(f->outbox, data, sizeof data, &sequence, &f->why));
	assert_int_equal(sequence, 9);
	assert_ok(outbox_read(f->outbox, &batch, 100, 1 << 20, &f->why));
	assert_int_equal(batch.count, 9);
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(batch.records[i].size, sizes[i]);
		assert_int_equal(batch.records[i].data[0], i + 1);
		assert_int_equal(batch.records[i].data[sizes[i] - 1], i + 1);
	}
	assert_int_equal(batch.records[8].data[OUTBOX_RECORD_MAX - 1], 77);
	assert_int_equal(outbox_gather(f->outbox, data, 0, &f->why), OTA_ERR_INVALID);
	assert_int_equal(
		outbox_gather(f->outbox, data, (size_t)OUTBOX_RECORD_MAX + 1, &f->why), OTA_ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batch_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_commit_trims, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rewind, setup, teardown),
		cmocka_unit_test_setup_teardown(test_skip_to, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deleted_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost_tail, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost_committed_tail, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renumbered_position_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_skip_to_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wake, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gather, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gather_large, setup, teardown),
	};
	return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
