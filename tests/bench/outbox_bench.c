/*
 * outbox_bench - what one append of a 300 byte event costs in each candidate for the outbox.
 *
 * usage: outbox_bench DIRECTORY [COUNT]
 * Each candidate runs twice: alone, and with a second thread that every 20 ms does what the store
 * thread does (make durable, remove what is done).  Prints microseconds per append, as a table,
 * and then what a checksum of such a record costs.  The figures and the decision drawn from them
 * are in docs/design/outbox.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_LMDB
#	include <lmdb.h>
#endif
#ifdef HAVE_SQLITE
#	include <sqlite3.h>
#endif
#ifdef HAVE_ZLIB
#	include <zlib.h>
#endif

#include "ota/store/outbox.h"

#include "../../plugin/store/outbox_internal.h"

enum {
	RECORD_BYTES = 300,
	SEGMENT_BYTES = 16 << 20,
	BACKGROUND_MS = 20,
	COUNT_MIN = 1000
};

static uint8_t record[RECORD_BYTES];
static _Atomic uint64_t appended;

struct candidate {
	const char *name;
	int variant;
	void (*open)(const char *directory, int variant);
	void (*append)(uint64_t sequence);
	void (*background)(uint64_t done); /* second thread: make durable, remove up to done */
	void (*close)(void);
};

static void fail(const char *what, int code)
{
	fprintf(stderr, "outbox_bench: %s failed with %d (errno %d)\n", what, code, errno);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* An own log, reduced to its system calls: no recovery, only the cost of the write path. */
enum {
	RAW_WRITE,
	RAW_WRITE_PREALLOCATED,
	RAW_MMAP
};

static struct {
	int directory, fd, variant;
	unsigned number;
	size_t offset;
	uint8_t *map;
	_Atomic int sync_fd;
} raw;

static void raw_next_segment(void)
{
	char name[32];
	if (raw.map != NULL)
		munmap(raw.map, SEGMENT_BYTES);
	snprintf(name, sizeof name, "raw-%06u", raw.number++);
	raw.fd = openat(raw.directory, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (raw.fd < 0)
		fail("openat", raw.fd);
	if (raw.variant != RAW_WRITE && fallocate(raw.fd, 0, 0, SEGMENT_BYTES) != 0)
		fail("fallocate", -1);
	raw.map = NULL;
	if (raw.variant == RAW_MMAP) {
		raw.map = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, raw.fd, 0);
		if (raw.map == MAP_FAILED)
			fail("mmap", -1);
	}
	raw.offset = 0;
	atomic_store(&raw.sync_fd, raw.fd); /* older descriptors stay open until the process ends */
}

static void raw_open(const char *directory, int variant)
{
	memset(&raw, 0, sizeof raw);
	raw.variant = variant;
	raw.directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	raw_next_segment();
}

static void raw_append(uint64_t sequence)
{
	memcpy(record, &sequence, sizeof sequence);
	if (raw.offset + RECORD_BYTES > SEGMENT_BYTES)
		raw_next_segment();
	if (raw.variant == RAW_MMAP)
		memcpy(raw.map + raw.offset, record, RECORD_BYTES);
	else if (pwrite(raw.fd, record, RECORD_BYTES, (off_t)raw.offset) != RECORD_BYTES)
		fail("pwrite", -1);
	raw.offset += RECORD_BYTES;
}

static void raw_background(uint64_t done)
{
	(void)done;
	fdatasync(atomic_load(&raw.sync_fd));
}

static void raw_close(void)
{
	if (raw.map != NULL)
		munmap(raw.map, SEGMENT_BYTES);
	close(raw.fd);
	close(raw.directory);
}

#ifdef HAVE_LMDB
static MDB_env *lmdb;
static MDB_dbi lmdb_table;

static void lmdb_open(const char *directory, int flags)
{
	MDB_txn *txn;
	int rc = mdb_env_create(&lmdb);
	rc = rc ? rc : mdb_env_set_mapsize(lmdb, (size_t)1 << 30);
	rc = rc ? rc : mdb_env_open(lmdb, directory, (unsigned)flags, 0600);
	rc = rc ? rc : mdb_txn_begin(lmdb, NULL, 0, &txn);
	rc = rc ? rc : mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &lmdb_table);
	rc = rc ? rc : mdb_txn_commit(txn);
	if (rc != 0)
		fail("LMDB open", rc);
}

static void lmdb_append(uint64_t sequence)
{
	MDB_txn *txn;
	MDB_val key = { sizeof sequence, &sequence };
	MDB_val value = { RECORD_BYTES, record };
	int rc = mdb_txn_begin(lmdb, NULL, 0, &txn);
	rc = rc ? rc : mdb_put(txn, lmdb_table, &key, &value, MDB_APPEND);
	rc = rc ? rc : mdb_txn_commit(txn);
	if (rc != 0)
		fail("LMDB put", rc);
}

static void lmdb_background(uint64_t done)
{
	MDB_txn *txn;
	MDB_cursor *cursor = NULL;
	MDB_val key;
	MDB_val value;
	int rc = mdb_env_sync(lmdb, 1);
	rc = rc ? rc : mdb_txn_begin(lmdb, NULL, 0, &txn);
	rc = rc ? rc : mdb_cursor_open(txn, lmdb_table, &cursor);
	if (rc != 0)
		fail("LMDB sync", rc);
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST)) == 0
		&& *(const uint64_t *)key.mv_data <= done)
		mdb_cursor_del(cursor, 0);
	mdb_cursor_close(cursor);
	mdb_txn_commit(txn);
}

static void lmdb_close(void)
{
	mdb_env_close(lmdb);
}
#endif

#ifdef HAVE_SQLITE
static sqlite3 *sqlite_writer, *sqlite_reader;
static sqlite3_stmt *sqlite_insert, *sqlite_delete;

static void sqlite_open(const char *directory, int synchronous)
{
	char path[512];
	char pragma[64];
	snprintf(path, sizeof path, "%s/bench.sqlite", directory);
	snprintf(pragma, sizeof pragma, "PRAGMA synchronous = %d", synchronous);
	sqlite3 **handles[] = { &sqlite_writer, &sqlite_reader };
	for (int i = 0; i < 2; i++) {
		int rc = sqlite3_open(path, handles[i]);
		sqlite3_busy_timeout(*handles[i], 10000);
		rc |= sqlite3_exec(*handles[i], "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
		rc |= sqlite3_exec(*handles[i], pragma, NULL, NULL, NULL);
		rc |= sqlite3_exec(*handles[i],
			"CREATE TABLE IF NOT EXISTS event (sequence INTEGER PRIMARY KEY, data BLOB)", NULL,
			NULL, NULL);
		if (rc != SQLITE_OK)
			fail("SQLite open", rc);
	}
	sqlite3_prepare_v2(sqlite_writer, "INSERT INTO event VALUES (?, ?)", -1, &sqlite_insert, NULL);
	sqlite3_prepare_v2(
		sqlite_reader, "DELETE FROM event WHERE sequence <= ?", -1, &sqlite_delete, NULL);
}

static void sqlite_append(uint64_t sequence)
{
	sqlite3_bind_int64(sqlite_insert, 1, (sqlite3_int64)sequence);
	sqlite3_bind_blob(sqlite_insert, 2, record, RECORD_BYTES, SQLITE_STATIC);
	int rc = sqlite3_step(sqlite_insert);
	if (rc != SQLITE_DONE)
		fail("SQLite insert", rc);
	sqlite3_reset(sqlite_insert);
}

static void sqlite_background(uint64_t done)
{
	sqlite3_bind_int64(sqlite_delete, 1, (sqlite3_int64)done);
	sqlite3_step(sqlite_delete);
	sqlite3_reset(sqlite_delete);
}

static void sqlite_close(void)
{
	sqlite3_finalize(sqlite_insert);
	sqlite3_finalize(sqlite_delete);
	sqlite3_close(sqlite_writer);
	sqlite3_close(sqlite_reader);
}
#endif

static struct outbox *outbox;

static void report(void *context, const char *line)
{
	(void)context;
	fprintf(stderr, "outbox: %s\n", line);
}

static void outbox_bench_open(const char *directory, int variant)
{
	(void)variant;
	struct ota_why why;
	struct outbox_options options = { .directory = directory, .report = report };
	if (outbox_open(&options, &outbox, &why) != OTA_OK
		|| outbox_skip_to(outbox, 0, &why) != OTA_OK) {
		fprintf(stderr, "outbox_bench: %s\n", why.text);
		exit(1);
	}
}

static void outbox_bench_append(uint64_t sequence)
{
	uint64_t given;
	memcpy(record, &sequence, sizeof sequence);
	if (outbox_append(outbox, record, RECORD_BYTES, &given, NULL) != OTA_OK)
		fail("outbox_append", -1);
}

static void outbox_bench_background(uint64_t done)
{
	struct outbox_batch batch;
	(void)done;
	if (outbox_sync(outbox, NULL) != OTA_OK)
		fail("outbox_sync", -1);
	while (outbox_read(outbox, &batch, 2000, 1 << 20, NULL) == OTA_OK && batch.count > 0) {
		if (outbox_commit(outbox, batch.records[batch.count - 1].sequence, NULL) != OTA_OK)
			fail("outbox_commit", -1);
	}
}

static void outbox_bench_close(void)
{
	outbox_close(outbox);
}

static const struct candidate candidates[] = {
	{ "own log, pwrite", RAW_WRITE, raw_open, raw_append, raw_background, raw_close },
	{ "own log, pwrite, preallocated", RAW_WRITE_PREALLOCATED, raw_open, raw_append, raw_background,
		raw_close },
	{ "own log, mmap, preallocated", RAW_MMAP, raw_open, raw_append, raw_background, raw_close },
#ifdef HAVE_LMDB
	{ "LMDB NOMETASYNC", MDB_NOMETASYNC, lmdb_open, lmdb_append, lmdb_background, lmdb_close },
	{ "LMDB NOSYNC", MDB_NOSYNC, lmdb_open, lmdb_append, lmdb_background, lmdb_close },
	{ "LMDB NOSYNC|WRITEMAP", MDB_NOSYNC | MDB_WRITEMAP, lmdb_open, lmdb_append, lmdb_background,
		lmdb_close },
#endif
#ifdef HAVE_SQLITE
	{ "SQLite WAL, synchronous=OFF", 0, sqlite_open, sqlite_append, sqlite_background,
		sqlite_close },
	{ "SQLite WAL, synchronous=NORMAL", 1, sqlite_open, sqlite_append, sqlite_background,
		sqlite_close },
#endif
	{ "the outbox", 0, outbox_bench_open, outbox_bench_append, outbox_bench_background,
		outbox_bench_close },
};

struct background {
	const struct candidate *candidate;
	atomic_bool stop;
};

static void *background_run(void *argument)
{
	struct background *background = argument;
	const struct timespec pause = { 0, BACKGROUND_MS * 1000000L };
	while (!atomic_load(&background->stop)) {
		background->candidate->background(atomic_load(&appended));
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static int compare_ns(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left;
	uint64_t b = *(const uint64_t *)right;
	return (a > b) - (a < b);
}

static void run(const struct candidate *candidate, const char *parent, size_t count, bool busy)
{
	char directory[512];
	snprintf(directory, sizeof directory, "%s/bench-XXXXXX", parent);
	uint64_t *cost = calloc(count, sizeof *cost);
	if (mkdtemp(directory) == NULL || cost == NULL)
		fail("mkdtemp", -1);
	atomic_store(&appended, 0);
	candidate->open(directory, candidate->variant);
	struct background background = { .candidate = candidate };
	pthread_t thread;
	if (busy)
		pthread_create(&thread, NULL, background_run, &background);
	for (size_t i = 0; i < count; i++) {
		uint64_t start = now_ns();
		candidate->append(i + 1);
		cost[i] = now_ns() - start;
		atomic_store_explicit(&appended, i + 1, memory_order_relaxed);
	}
	if (busy) {
		atomic_store(&background.stop, true);
		pthread_join(thread, NULL);
	}
	candidate->close();
	qsort(cost, count, sizeof *cost, compare_ns);
	printf("%-32s %-5s %9.2f %9.2f %9.2f %11.1f\n", candidate->name, busy ? "busy" : "alone",
		(double)cost[count / 2] / 1e3, (double)cost[count / 100 * 99] / 1e3,
		(double)cost[count / 1000 * 999] / 1e3, (double)cost[count - 1] / 1e3);
	fflush(stdout);
	free(cost);
}

#ifdef HAVE_ZLIB
static uint32_t zlib_crc(uint32_t crc, const void *data, size_t size)
{
	return (uint32_t)crc32(crc, data, (unsigned)size);
}
#endif

/* What a checksum of one record costs. */
static void run_checksums(void)
{
	static const struct {
		const char *name;
		uint32_t (*checksum)(uint32_t crc, const void *data, size_t size);
	} kinds[] = {
		{ "CRC-32C, as the outbox does it", outbox_crc },
		{ "CRC-32C, portable", outbox_crc_portable },
#ifdef HAVE_ZLIB
		{ "CRC-32 of zlib", zlib_crc },
#endif
	};
	enum {
		ROUNDS = 200000
	};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		uint32_t crc = 0;
		uint64_t start = now_ns();
		for (int round = 0; round < ROUNDS; round++)
			crc = kinds[i].checksum(crc, record, sizeof record); /* each waits for the one before */
		printf("%-32s %-5s %9.2f   (%08x)\n", kinds[i].name, "",
			(double)(now_ns() - start) / ROUNDS / 1e3, crc);
	}
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: %s DIRECTORY [COUNT]\n", argv[0]);
		return 2;
	}
	size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 200000;
	if (count < COUNT_MIN || count > 10000000) {
		fprintf(stderr, "outbox_bench: count '%s' is not in 1000 .. 10000000\n", argv[2]);
		return 2;
	}
	memset(record, 'x', sizeof record);
	printf("%-32s %-5s %9s %9s %9s %11s\n", "append of 300 bytes, microseconds", "", "median",
		"p99", "p99.9", "worst");
	for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++) {
		/* A candidate that waits for the disk at each append gets fewer of them. */
		size_t own_count = strstr(candidates[i].name, "NOMETASYNC") != NULL ? 2000 : count;
		run(&candidates[i], argv[1], own_count, false);
		run(&candidates[i], argv[1], own_count, true);
	}
	run_checksums();
	return 0;
}
