/* What the outbox does with files that are not its own, lost or removed: it says so, and reads the rest. */
#include "outbox_fixture.h"

/* The private header: formats are checked against it. */
#include "../../../plugin/store/outbox_internal.h"

enum {
	HEADER = sizeof(struct outbox_segment_header)
};

static void close_outbox(struct fixture *f)
{
	outbox_close(f->outbox);
	f->outbox = NULL;
}

/* The header of each segment in turn is not ours. */
static void test_foreign_file(void **state)
{
	static const struct {
		off_t offset; /* flipped in the header; -1: see size */
		size_t size;  /* the file is cut to it */
		const char *says;
	} cases[] = {
		{ 0, 0, "not a file of this log" },
		{ 8, 0, "unknown version" },
		{ 12, 0, "header is damaged" },
		{ 17, 0, "header is damaged" },
		{ HEADER - 1, 0, "header is damaged" },
		{ -1, HEADER - 1, "too short" },
		{ -1, 1, "too short" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases * 3; i++) {
		struct fixture *f = malloc(sizeof *f);
		void *own_state = f;
		assert_non_null(f);
		fixture_init(f);
		reopen(f);
		skip_to(f, 0);
		append_range(f, 1, 1200);
		close_outbox(f);
		uint64_t firsts[16];
		size_t count = 0;
		for (uint64_t n = 1; n <= 1200 && count < 16; n++) {
			char path[256];
			segment_path(f, n, path, sizeof path);
			if (access(path, F_OK) == 0)
				firsts[count++] = n;
		}
		assert_in_range(count, 3, 15);
		size_t bad = i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : count - 1;
		char path[256];
		segment_path(f, firsts[bad], path, sizeof path);
		if (cases[i / 3].offset >= 0)
			file_flip(path, cases[i / 3].offset);
		else
			assert_int_equal(truncate(path, (off_t)cases[i / 3].size), 0);
		reopen(f);
		assert_non_null(strstr(f->reports, cases[i / 3].says));
		assert_non_null(strstr(f->reports, "are lost"));
		assert_non_null(strstr(f->reports, path));
		assert_int_equal(files_with(f, ".damaged-"), 1);
		uint64_t lost_to = bad + 1 < count ? firsts[bad + 1] - 1 : 1200;
		skip_to(f, 0);
		uint64_t expected = 1;
		struct outbox_batch batch;
		do {
			assert_ok(outbox_read(f->outbox, &batch, 100, 1 << 20, &f->why));
			for (size_t r = 0; r < batch.count; r++, expected++) {
				if (expected == firsts[bad])
					expected = lost_to + 1;
				assert_int_equal(batch.records[r].sequence, expected);
			}
		} while (batch.count > 0);
		assert_int_equal(expected, bad + 1 < count ? 1201 : firsts[bad]);
		uint64_t sequence = 0;
		assert_ok(outbox_append(f->outbox, "x", 1, &sequence, &f->why));
		/* Only a file too short for any record lets its number be used again. */
		assert_true(
			sequence > (bad + 1 < count || cases[i / 3].size == 0 ? 1200 : firsts[bad] - 1));
		assert_ok(outbox_read(f->outbox, &batch, 100, 1 << 20, &f->why));
		assert_int_equal(batch.count, 1);
		assert_int_equal(batch.records[0].sequence, sequence);
		(void)teardown(&own_state);
	}
	(void)state;
}

/* Names that look like a segment but prove nothing, and things that are not files. */
static void test_strange_names(void **state)
{
	struct fixture *f = *state;
	char path[256];
	reopen(f);
	append_range(f, 1, 10);
	close_outbox(f);
	segment_path(f, 0x3fffffffffffffff, path, sizeof path);
	file_store(path, (const uint8_t *)"hello", 5);
	segment_path(f, 0x100, path, sizeof path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	segment_path(f, 0x101, path, sizeof path);
	assert_int_equal(mkfifo(path, 0600), 0);
	segment_path(f, 0x102, path, sizeof path);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof path, "%s/notes.txt", f->directory);
	file_store(path, (const uint8_t *)"mine", 4);
	reopen(f);
	assert_int_equal(files_with(f, ".damaged-"), 4);
	assert_int_equal(files_with(f, "notes.txt"), 1);
	append_range(f, 11, 12);
	skip_to(f, 0);
	expect_range(f, 1, 12);
	close_outbox(f);
	segment_path(f, 13, path, sizeof path); /* killed between making the file and its first byte */
	file_store(path, NULL, 0);
	reopen(f);
	assert_string_equal(f->reports, "");
	append_range(f, 13, 14);
}

/* The position file: lost, flipped at each byte of either copy, or empty. */
static void test_position_file(void **state)
{
	struct fixture *f = *state;
	char path[256];
	(void)snprintf(path, sizeof path, "%s/outbox.position", f->directory);
	reopen(f);
	skip_to(f, 0);
	append_range(f, 1, 20);
	expect_range(f, 1, 20);
	assert_ok(outbox_commit(f->outbox, 10, &f->why));
	close_outbox(f);
	static uint8_t bytes[8192];
	size_t size = file_load(path, bytes, sizeof bytes);
	assert_true(size > 4096);
	for (size_t slot = 0; slot < 2; slot++) {
		for (size_t at = 0; at < size - 4096; at++) { /* one copy is always whole */
			file_store(path, bytes, size);
			file_flip(path, (off_t)(slot * 4096 + at));
			reopen(f);
			assert_string_equal(f->reports, "");
			skip_to(f, 10);
			expect_range(f, 11, 20);
			close_outbox(f);
		}
	}
	for (int way = 0; way < 2; way++) {
		if (way == 0)
			assert_int_equal(unlink(path), 0);
		else
			file_store(path, (const uint8_t *)"rubbish", 7);
		reopen(f);
		assert_non_null(strstr(f->reports, way == 0 ? "missing" : "damaged"));
		skip_to(f, 12); /* the database knows what it has */
		expect_range(f, 13, 20);
		close_outbox(f);
	}
}

/* A segment removed by hand while the log is closed, and while it is read. */
static void test_removed_file(void **state)
{
	struct fixture *f = *state;
	char path[256];
	reopen(f);
	skip_to(f, 0);
	append_range(f, 1, 1500);
	close_outbox(f);
	segment_path(f, 1, path, sizeof path);
	assert_int_equal(unlink(path), 0);
	reopen(f);
	assert_non_null(strstr(f->reports, "are in no file of"));
	skip_to(f, 0);
	struct outbox_batch batch;
	assert_ok(outbox_read(f->outbox, &batch, 1, 1 << 20, &f->why));
	uint64_t first = batch.records[0].sequence;
	assert_in_range(first, 100, 1000);
	outbox_rewind(f->outbox);
	f->reports[0] = '\0';
	for (uint64_t n = first + 1; n < 1500; n++) {
		segment_path(f, n, path, sizeof path);
		if (unlink(path) == 0)
			break;
	}
	uint64_t last = 0;
	do {
		assert_ok(outbox_read(f->outbox, &batch, 100, 1 << 20, &f->why));
		if (batch.count > 0)
			last = batch.records[batch.count - 1].sequence;
	} while (batch.count > 0);
	assert_int_equal(last, 1500);
	assert_non_null(strstr(f->reports, "are lost"));
	assert_ok(outbox_commit(f->outbox, 1500, &f->why));
	assert_int_equal(outbox_pending_bytes(f->outbox), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_foreign_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strange_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_position_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_file, setup, teardown),
	};
	return cmocka_run_group_tests_name("outbox foreign files", tests, NULL, NULL);
}
