/*
 * outbox_fixture - a temporary directory with an outbox in it, for the tests of the outbox.
 *
 * Thread: the test's.  Each test program includes it once.
 */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ota/store/outbox.h"

struct fixture {
	char directory[128];
	char reports[8192]; /* lines of the last open and after */
	struct outbox *outbox;
	struct outbox_options options;
	struct ota_why why;
};

static inline void fixture_report(void *context, const char *line)
{
	struct fixture *f = context;
	size_t used = strlen(f->reports);
	(void)snprintf(f->reports + used, sizeof f->reports - used, "%s\n", line);
}

static inline void fixture_init(struct fixture *f)
{
	const char *parent = getenv("TMPDIR");
	memset(f, 0, sizeof *f);
	(void)snprintf(
		f->directory, sizeof f->directory, "%s/outbox-test-XXXXXX", parent ? parent : "/tmp");
	assert_non_null(mkdtemp(f->directory));
	f->options = (struct outbox_options){ .directory = f->directory,
		.max_bytes = 1 << 20,
		.segment_bytes = OUTBOX_SEGMENT_MIN,
		.report = fixture_report,
		.report_context = f };
}

static inline int setup(void **state)
{
	struct fixture *f = malloc(sizeof *f);
	assert_non_null(f);
	fixture_init(f);
	*state = f;
	return 0;
}

/* Calls `visit` for each file of the outbox's directory. */
static inline void each_file(
	struct fixture *f, void (*visit)(int directory, const char *name, void *), void *context)
{
	DIR *directory = opendir(f->directory);
	if (directory == NULL)
		return;
	const struct dirent *entry;
	while ((entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] != '.')
			visit(dirfd(directory), entry->d_name, context);
	}
	(void)closedir(directory);
}

static inline void visit_remove(int directory, const char *name, void *context)
{
	(void)context;
	if (unlinkat(directory, name, 0) != 0)
		(void)unlinkat(directory, name, AT_REMOVEDIR);
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	outbox_close(f->outbox);
	each_file(f, visit_remove, NULL);
	(void)rmdir(f->directory);
	free(f);
	return 0;
}

struct count_files {
	const char *part;
	int count;
};

static inline void visit_count(int directory, const char *name, void *context)
{
	(void)directory;
	struct count_files *count = context;
	count->count += strstr(name, count->part) != NULL;
}

/* How many files have `part` in their name. */
static inline int files_with(struct fixture *f, const char *part)
{
	struct count_files count = { .part = part };
	each_file(f, visit_count, &count);
	return count.count;
}

static inline void assert_ok_at(struct fixture *f, enum ota_err err, int line)
{
	if (err != OTA_OK)
		fail_msg("line %d: %s: %s", line, ota_err_name(err), f->why.text);
}
#define assert_ok(err) assert_ok_at(f, (err), __LINE__)

/* Closes the outbox when one is open, and opens it again as after a restart. */
static inline void reopen(struct fixture *f)
{
	outbox_close(f->outbox);
	f->outbox = NULL;
	f->reports[0] = '\0';
	assert_ok(outbox_open(&f->options, &f->outbox, &f->why));
}

/* What a record with this index holds: text and size follow from the index alone. */
static inline size_t record_fill(uint64_t index, uint8_t *data)
{
	size_t size = 32 + (size_t)(index * 7919 % 488);
	int length = snprintf((char *)data, 32, "record %" PRIu64, index);
	memset(data + length, (int)(index & 0xff), size - (size_t)length);
	return size;
}

enum {
	RECORD_FILL_MAX = 520
};

/* Appends the records from .. to, whose index is the sequence number they get. */
static inline void append_range(struct fixture *f, uint64_t from, uint64_t to)
{
	uint8_t data[RECORD_FILL_MAX];
	for (uint64_t i = from; i <= to; i++) {
		uint64_t sequence = 0;
		size_t size = record_fill(i, data);
		assert_ok(outbox_append(f->outbox, data, size, &sequence, &f->why));
		assert_int_equal(sequence, i);
	}
}

/* Reads on and expects exactly the records from .. to; `shift` is their sequence minus their index. */
static inline void expect_range_shifted(
	struct fixture *f, uint64_t from, uint64_t to, uint64_t shift, size_t max_records)
{
	uint8_t data[RECORD_FILL_MAX];
	struct outbox_batch batch;
	uint64_t next = from;
	do {
		assert_ok(outbox_read(f->outbox, &batch, max_records, 1 << 20, &f->why));
		for (size_t i = 0; i < batch.count; i++, next++) {
			assert_true(next <= to);
			assert_int_equal(batch.records[i].sequence, next + shift);
			assert_int_equal(batch.records[i].size, record_fill(next, data));
			assert_memory_equal(batch.records[i].data, data, batch.records[i].size);
		}
	} while (batch.count > 0);
	assert_int_equal(next, to + 1);
}

static inline void expect_range(struct fixture *f, uint64_t from, uint64_t to)
{
	expect_range_shifted(f, from, to, 0, 37);
}

static inline void skip_to(struct fixture *f, uint64_t sequence)
{
	assert_ok(outbox_skip_to(f->outbox, sequence, &f->why));
}

/* The segment file whose first record has this number. */
static inline void segment_path(const struct fixture *f, uint64_t first, char *path, size_t size)
{
	(void)snprintf(path, size, "%s/outbox-%016" PRIx64 ".log", f->directory, first);
}

static inline size_t file_load(const char *path, uint8_t *bytes, size_t capacity)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	ssize_t size = read(fd, bytes, capacity);
	assert_true(size >= 0 && (size_t)size < capacity);
	(void)close(fd);
	return (size_t)size;
}

static inline void file_store(const char *path, const uint8_t *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	(void)close(fd);
}

static inline void file_flip(const char *path, off_t offset)
{
	uint8_t byte;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, offset), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
	(void)close(fd);
}
