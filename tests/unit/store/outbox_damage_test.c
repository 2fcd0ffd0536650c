/* What the outbox does with torn and flipped bytes: it says so, and reads the rest. */
#include "outbox_fixture.h"

/* The private header: formats are checked against it. */
#include "../../../plugin/store/outbox_internal.h"

enum {
	HEADER = sizeof(struct outbox_segment_header)
};

static uint8_t bytes[OUTBOX_SEGMENT_MIN * 2];

static uint64_t place_of(uint64_t index) /* of a record_fill() record in the first segment */
{
	uint8_t data[RECORD_FILL_MAX];
	uint64_t place = HEADER;
	for (uint64_t i = 1; i < index; i++)
		place += outbox_record_bytes(record_fill(i, data));
	return place;
}

static void close_outbox(struct fixture *f)
{
	outbox_close(f->outbox);
	f->outbox = NULL;
}

static void test_checksum(void **state)
{
	(void)state;
	static const struct { /* RFC 3720 appendix B.4, and the common check value */
		const char *data;
		size_t size;
		uint32_t crc;
	} cases[] = {
		{ "123456789", 9, 0xe3069283 },
		{ "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32, 0x8a9136aa },
		{ "", 0, 0 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(outbox_crc(0, cases[i].data, cases[i].size), cases[i].crc);
		assert_int_equal(outbox_crc_portable(0, cases[i].data, cases[i].size), cases[i].crc);
		uint32_t half = outbox_crc(0, cases[i].data, cases[i].size / 2);
		assert_int_equal(
			outbox_crc(half, cases[i].data + cases[i].size / 2, cases[i].size - cases[i].size / 2),
			cases[i].crc);
	}
}

/* The last record cut at each of its bytes: the ones before are there, and the log goes on. */
static void test_torn_tail(void **state)
{
	struct fixture *f = *state;
	char path[256];
	reopen(f);
	append_range(f, 1, 20);
	close_outbox(f);
	segment_path(f, 1, path, sizeof path);
	size_t size = file_load(path, bytes, sizeof bytes);
	size_t start = (size_t)place_of(20);
	assert_true(start < size);
	for (size_t cut = start; cut < size; cut++) {
		char note[64];
		file_store(path, bytes, cut);
		reopen(f);
		(void)snprintf(note, sizeof note, "%zu bytes after event 19 are cut off", cut - start);
		if (cut == start)
			assert_string_equal(f->reports, "");
		else
			assert_non_null(strstr(f->reports, note));
		skip_to(f, 0);
		append_range(f, 20, 21);
		expect_range(f, 1, 21);
		close_outbox(f);
	}
	assert_int_equal(files_with(f, "damaged"), 0);
}

/* A power loss can leave zeros or rubbish where the data did not reach the disk. */
static void test_rubbish_tail(void **state)
{
	struct fixture *f = *state;
	char path[256];
	reopen(f);
	append_range(f, 1, 20);
	close_outbox(f);
	segment_path(f, 1, path, sizeof path);
	size_t size = file_load(path, bytes, sizeof bytes);
	for (int fill = 0; fill < 256; fill += 51) {
		memset(bytes + size, fill, 5000);
		file_store(path, bytes, size + 5000);
		reopen(f);
		assert_non_null(strstr(f->reports, "5000 bytes after event 20 are cut off"));
		skip_to(f, 0);
		append_range(f, 21, 21);
		expect_range(f, 1, 21);
		close_outbox(f);
	}
	/* More than one torn record: nothing is thrown away, a new file is begun. */
	memset(bytes + size, 0xff, 100000);
	file_store(path, bytes, size + 100000);
	reopen(f);
	skip_to(f, 0);
	uint64_t sequence = 0;
	assert_ok(outbox_append(f->outbox, "x", 1, &sequence, &f->why));
	assert_true(sequence > 20);
	struct outbox_batch batch;
	assert_ok(outbox_read(f->outbox, &batch, 20, 1 << 20, &f->why));
	assert_int_equal(batch.count, 20);
	assert_ok(outbox_read(f->outbox, &batch, 20, 1 << 20, &f->why));
	assert_int_equal(batch.count, 1);
	assert_int_equal(batch.records[0].sequence, sequence);
	assert_non_null(strstr(f->reports, "100000 bytes skipped"));
	assert_ok(outbox_commit(f->outbox, sequence, &f->why));
	assert_int_equal(files_with(f, ".damaged-"), 1);
	assert_int_equal(outbox_pending_bytes(f->outbox), 0);
}

/* Damage behind all that is stored: nothing waits for it for ever. */
static void test_only_damage_left(void **state)
{
	struct fixture *f = *state;
	char path[256];
	reopen(f);
	append_range(f, 1, 20);
	close_outbox(f);
	segment_path(f, 1, path, sizeof path);
	size_t size = file_load(path, bytes, sizeof bytes);
	memset(bytes + size, 0, 100000);
	file_store(path, bytes, size + 100000);
	reopen(f);
	skip_to(f, 0);
	struct outbox_batch batch;
	assert_ok(outbox_read(f->outbox, &batch, 20, 1 << 20, &f->why));
	assert_int_equal(batch.count, 20);
	assert_ok(outbox_commit(f->outbox, 20, &f->why));
	assert_false(outbox_idle(f->outbox));
	assert_ok(outbox_read(f->outbox, &batch, 20, 1 << 20, &f->why));
	assert_int_equal(batch.count, 0);
	assert_true(outbox_idle(f->outbox));
	assert_int_equal(outbox_pending_records(f->outbox), 0);
	assert_int_equal(outbox_pending_bytes(f->outbox), 0);
	assert_int_equal(files_with(f, ".damaged-"), 1);
}

/* Whole records whose number cannot be right: an old one again, and one far ahead. */
static void test_wrong_numbers(void **state)
{
	static const struct {
		uint64_t number;
		bool believed;
	} cases[] = { { 1, false }, { 20, false }, { 21, true }, { 1 << 30, false },
		{ UINT64_MAX, false } };
	struct fixture *f = *state;
	char path[256];
	reopen(f);
	append_range(f, 1, 20);
	close_outbox(f);
	segment_path(f, 1, path, sizeof path);
	size_t size = file_load(path, bytes, sizeof bytes);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t more = outbox_record_encode(bytes + size, cases[i].number, "again", 5);
		file_store(path, bytes, size + more);
		reopen(f);
		assert_true((strstr(f->reports, "cut off") == NULL) == cases[i].believed);
		assert_int_equal(outbox_pending_records(f->outbox), cases[i].believed ? 21 : 20);
		skip_to(f, 0);
		struct outbox_batch batch;
		assert_ok(outbox_read(f->outbox, &batch, 100, 1 << 20, &f->why));
		assert_int_equal(batch.count, cases[i].believed ? 21 : 20);
		close_outbox(f);
	}
}

/* One bit of a record in the middle flipped, at each of its bytes. */
static void test_flipped_record(void **state)
{
	struct fixture *f = *state;
	enum {
		BAD = 10,
		LAST = 20
	};
	char path[256];
	uint8_t data[RECORD_FILL_MAX];
	reopen(f);
	append_range(f, 1, LAST);
	close_outbox(f);
	segment_path(f, 1, path, sizeof path);
	size_t size = file_load(path, bytes, sizeof bytes);
	uint64_t start = place_of(BAD);
	uint64_t whole = start + sizeof(struct outbox_record_header) + record_fill(BAD, data);
	for (uint64_t at = start; at < whole; at++) {
		file_store(path, bytes, size);
		file_flip(path, (off_t)at);
		reopen(f);
		skip_to(f, 0);
		struct outbox_batch batch;
		assert_ok(outbox_read(f->outbox, &batch, 100, 1 << 20, &f->why));
		assert_int_equal(batch.count, LAST - 1);
		for (size_t i = 0; i < batch.count; i++)
			assert_int_equal(batch.records[i].sequence, i + 1 < BAD ? i + 1 : i + 2);
		assert_non_null(strstr(f->reports, "events 10 to 10 are lost"));
		assert_non_null(strstr(f->reports, path));
		size_t length = strlen(f->reports);
		outbox_rewind(f->outbox); /* says it once */
		assert_ok(outbox_read(f->outbox, &batch, 100, 1 << 20, &f->why));
		assert_int_equal(batch.count, LAST - 1);
		assert_int_equal(strlen(f->reports), length);
		close_outbox(f);
	}
}

/* Damage in a file that is no longer written: what is around it is read, the file is kept. */
static void test_flipped_in_old_segment(void **state)
{
	struct fixture *f = *state;
	char path[256];
	reopen(f);
	skip_to(f, 0);
	append_range(f, 1, 1500);
	close_outbox(f);
	segment_path(f, 1, path, sizeof path);
	file_flip(path, (off_t)place_of(100) + 20);
	file_flip(path, (off_t)place_of(101) + 20);
	file_flip(path, (off_t)place_of(200));
	reopen(f);
	skip_to(f, 50);
	struct outbox_batch batch;
	uint64_t expected = 51;
	do {
		assert_ok(outbox_read(f->outbox, &batch, 100, 1 << 20, &f->why));
		for (size_t i = 0; i < batch.count; i++, expected++) {
			if (expected == 100 || expected == 200)
				expected += expected == 100 ? 2 : 1;
			assert_int_equal(batch.records[i].sequence, expected);
		}
	} while (batch.count > 0);
	assert_int_equal(expected, 1501);
	assert_non_null(strstr(f->reports, "events 100 to 101 are lost"));
	assert_non_null(strstr(f->reports, "events 200 to 200 are lost"));
	assert_ok(outbox_commit(f->outbox, 1500, &f->why));
	assert_int_equal(outbox_pending_records(f->outbox), 0);
	assert_int_equal(outbox_pending_bytes(f->outbox), 0);
	assert_int_equal(files_with(f, ".damaged-"), 1);
	assert_non_null(strstr(f->reports, "is kept as"));
	reopen(f);
	assert_string_equal(f->reports, "");
	append_range(f, 1501, 1502);
}

/* Damage in records that the database has is no loss and no line in the log. */
static void test_damage_behind_reader(void **state)
{
	struct fixture *f = *state;
	char path[256];
	reopen(f);
	skip_to(f, 0);
	append_range(f, 1, 50);
	expect_range(f, 1, 50);
	assert_ok(outbox_commit(f->outbox, 40, &f->why));
	close_outbox(f);
	segment_path(f, 1, path, sizeof path);
	file_flip(path, (off_t)place_of(20) + 20);
	reopen(f);
	skip_to(f, 40);
	expect_range(f, 41, 50);
	assert_string_equal(f->reports, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checksum),
		cmocka_unit_test_setup_teardown(test_torn_tail, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rubbish_tail, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_damage_left, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flipped_record, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flipped_in_old_segment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage_behind_reader, setup, teardown),
	};
	return cmocka_run_group_tests_name("outbox damage", tests, NULL, NULL);
}
