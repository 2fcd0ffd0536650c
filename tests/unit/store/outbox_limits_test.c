/* The bounds of the outbox: a full log, a full disk, directories, options, a second opener. */
#include <sys/mount.h>
#include <sys/wait.h>

#include "outbox_fixture.h"

static void test_full(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[10000];
	struct outbox_batch batch;
	uint64_t appended = 0;
	f->options.max_bytes = OUTBOX_BYTES_MIN;
	f->options.segment_bytes = 0; /* the default does not fit: it is made smaller */
	reopen(f);
	skip_to(f, 0);
	for (int round = 0; round < 5; round++) {
		enum ota_err err;
		while ((err = outbox_append(f->outbox, data, sizeof data, NULL, &f->why)) == OTA_OK)
			assert_true(++appended < 1000);
		assert_int_equal(err, OTA_ERR_FULL);
		assert_non_null(strstr(f->why.text, "is full"));
		assert_int_equal(outbox_append(f->outbox, data, sizeof data, NULL, NULL), OTA_ERR_FULL);
		uint64_t used = outbox_pending_bytes(f->outbox);
		assert_in_range(used, OUTBOX_BYTES_MIN / 2, OUTBOX_BYTES_MIN);
		uint64_t last = 0;
		do {
			assert_ok(outbox_read(f->outbox, &batch, 20, 1 << 20, &f->why));
			if (batch.count > 0)
				last = batch.records[batch.count - 1].sequence;
		} while (batch.count > 0);
		assert_int_equal(last, appended);
		assert_ok(outbox_commit(f->outbox, last, &f->why));
	}
	assert_true(appended > 100);
}

static int teardown_mount(void **state)
{
	struct fixture *f = *state;
	outbox_close(f->outbox);
	f->outbox = NULL;
	(void)umount(f->directory);
	return teardown(state);
}

/* The disk is full: a file system of 1 MiB, of which the log may use all. */
static void test_disk_full(void **state)
{
	struct fixture *f = *state;
	if (geteuid() != 0 || mount("tmpfs", f->directory, "tmpfs", 0, "size=1m,mode=0700") != 0)
		skip();
	static uint8_t data[3000];
	struct outbox_batch batch;
	uint64_t appended = 0;
	uint64_t committed = 0;
	f->options.max_bytes = OUTBOX_BYTES_DEFAULT;
	f->options.segment_bytes = OUTBOX_SEGMENT_MIN;
	reopen(f);
	skip_to(f, 0);
	for (int round = 0; round < 4; round++) {
		enum ota_err err;
		uint64_t sequence = 0;
		while ((err = outbox_append(f->outbox, data, sizeof data, &sequence, &f->why)) == OTA_OK)
			assert_int_equal(sequence, ++appended);
		assert_int_equal(err, OTA_ERR_FULL);
		assert_non_null(strstr(f->why.text, "No space left"));
		reopen(f); /* starts on a full disk, and nothing is half written */
		assert_string_equal(f->reports, "");
		skip_to(f, 0);
		uint64_t next = committed + 1;
		do {
			assert_ok(outbox_read(f->outbox, &batch, 10, 1 << 20, &f->why));
			for (size_t i = 0; i < batch.count; i++)
				assert_int_equal(batch.records[i].sequence, next++);
		} while (batch.count > 0);
		assert_int_equal(next, appended + 1);
		committed = appended - 50;
		assert_ok(outbox_commit(f->outbox, committed, &f->why));
	}
	assert_true(appended > 500);

	/* Full, and the last file is not ours: the rest is read although no new file can be made. */
	enum ota_err err;
	while ((err = outbox_append(f->outbox, data, sizeof data, NULL, &f->why)) == OTA_OK)
		appended++;
	assert_int_equal(err, OTA_ERR_FULL);
	outbox_close(f->outbox);
	f->outbox = NULL;
	char path[256];
	uint64_t last = appended;
	do
		segment_path(f, last, path, sizeof path);
	while (access(path, F_OK) != 0 && --last > 0);
	file_flip(path, 0);
	reopen(f);
	assert_int_equal(outbox_append(f->outbox, data, sizeof data, NULL, &f->why), OTA_ERR_FULL);
	skip_to(f, committed);
	uint64_t expected = committed + 1;
	do {
		assert_ok(outbox_read(f->outbox, &batch, 10, 1 << 20, &f->why));
		for (size_t i = 0; i < batch.count; i++)
			assert_int_equal(batch.records[i].sequence, expected++);
	} while (batch.count > 0);
	assert_int_equal(expected, last);
	assert_ok(outbox_commit(f->outbox, last - 1, &f->why));
	assert_ok(outbox_append(f->outbox, data, sizeof data, NULL, &f->why));
}

/* A full disk: what was gathered waits within its bound and nothing overtakes it; it is written as soon as there is room. */
static void test_disk_full_gather(void **state)
{
	struct fixture *f = *state;
	if (geteuid() != 0 || mount("tmpfs", f->directory, "tmpfs", 0, "size=1m,mode=0700") != 0)
		skip();
	static uint8_t data[3000];
	struct outbox_batch batch;
	uint64_t appended = 0;
	f->options.max_bytes = OUTBOX_BYTES_DEFAULT;
	reopen(f);
	skip_to(f, 0);
	while (outbox_append(f->outbox, data, sizeof data, NULL, &f->why) == OTA_OK)
		appended++;
	uint64_t gathered = 0;
	enum ota_err err;
	while ((err = outbox_gather(f->outbox, data, 100, &f->why)) == OTA_OK)
		assert_true(++gathered < 1000);
	assert_int_equal(err, OTA_ERR_FULL);
	assert_in_range(gathered, OUTBOX_GATHER_BYTES / 128, OUTBOX_GATHER_BYTES / 100);
	assert_int_equal(outbox_flush(f->outbox, &f->why), OTA_ERR_FULL);
	assert_int_equal(outbox_append(f->outbox, data, 1, NULL, &f->why), OTA_ERR_FULL);
	assert_int_equal(outbox_pending_records(f->outbox), appended);
	uint64_t last = 0;
	while (last < appended) {
		assert_ok(outbox_read(f->outbox, &batch, 100, 1 << 20, &f->why));
		assert_true(batch.count > 0);
		last = batch.records[batch.count - 1].sequence;
	}
	assert_int_equal(last, appended);
	assert_ok(outbox_commit(f->outbox, last, &f->why));
	uint64_t sequence = 0;
	assert_ok(outbox_append(f->outbox, data, 1, &sequence, &f->why)); /* takes along what waited */
	assert_int_equal(sequence, appended + gathered + 1);
	for (uint64_t next = appended + 1; next <= sequence;) {
		assert_ok(outbox_read(f->outbox, &batch, 1000, 1 << 20, &f->why));
		assert_true(batch.count > 0);
		for (size_t i = 0; i < batch.count; i++, next++) {
			assert_int_equal(batch.records[i].sequence, next);
			assert_int_equal(batch.records[i].size, next == sequence ? 1 : 100);
		}
	}
	/* Full again, at the end: what cannot be written is said. */
	assert_ok(outbox_commit(f->outbox, sequence, &f->why));
	while (outbox_append(f->outbox, data, sizeof data, NULL, &f->why) == OTA_OK)
		;
	for (int i = 0; i < 100; i++)
		assert_ok(outbox_gather(f->outbox, data, 100, &f->why));
	f->reports[0] = '\0';
	outbox_close(f->outbox);
	f->outbox = NULL;
	assert_non_null(strstr(f->reports, "100 events were not written: "));
	assert_non_null(strstr(f->reports, "No space left"));
}

/* The bound of the log counts what waits. */
static void test_full_gather(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[1000];
	uint64_t records = 0;
	f->options.max_bytes = OUTBOX_BYTES_MIN;
	reopen(f);
	enum ota_err err;
	while ((err = outbox_gather(f->outbox, data, sizeof data, &f->why)) == OTA_OK)
		assert_true(++records < 1000);
	assert_int_equal(err, OTA_ERR_FULL);
	assert_ok(outbox_flush(f->outbox, &f->why));
	assert_int_equal(outbox_pending_records(f->outbox), records);
	assert_in_range(outbox_pending_bytes(f->outbox), OUTBOX_BYTES_MIN / 2, OUTBOX_BYTES_MIN);
}

static void test_options(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint64_t max_bytes;
		uint32_t segment_bytes;
		const char *directory, *says;
	} cases[] = {
		{ 0, 0, "", "state directory is empty" },
		{ OUTBOX_BYTES_MIN - 1, 0, "x", "524287 is not in" },
		{ OUTBOX_BYTES_MAX + 1, 0, "x", "1099511627777 is not in" },
		{ 0, OUTBOX_SEGMENT_MIN - 1, "x", "131071 is not in" },
		{ 0, OUTBOX_SEGMENT_MAX + 1, "x", "67108865 is not in" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct outbox_options options = { .directory = cases[i].directory,
			.max_bytes = cases[i].max_bytes,
			.segment_bytes = cases[i].segment_bytes };
		assert_int_equal(outbox_open(&options, &f->outbox, &f->why), OTA_ERR_INVALID);
		assert_non_null(strstr(f->why.text, cases[i].says));
		assert_null(f->outbox);
	}
}

static void test_directory(void **state)
{
	struct fixture *f = *state;
	char parent[160];
	char path[192];
	struct stat status;
	(void)snprintf(parent, sizeof parent, "%s/a", f->directory);
	(void)snprintf(path, sizeof path, "%s/b", parent);
	f->options.directory = path;
	reopen(f);
	append_range(f, 1, 3);
	assert_int_equal(stat(parent, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0700);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0700);
	outbox_close(f->outbox);
	f->outbox = NULL;
	struct fixture inner = { .directory = "" };
	memcpy(inner.directory, path, sizeof inner.directory);
	each_file(&inner, visit_remove, NULL);
	assert_int_equal(rmdir(path), 0);
	file_store(path, (const uint8_t *)"x", 1); /* a file in the way */
	assert_int_equal(outbox_open(&f->options, &f->outbox, &f->why), OTA_ERR_IO);
	assert_non_null(strstr(f->why.text, path));
	assert_int_equal(unlink(path), 0);
}

static void test_not_writable(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(chmod(f->directory, 0555), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) { /* root may write everywhere: become nobody */
		if (geteuid() == 0 && setuid(65534) != 0)
			_exit(2);
		enum ota_err err = outbox_open(&f->options, &f->outbox, &f->why);
		_exit(err == OTA_ERR_IO && strstr(f->why.text, f->directory) != NULL
					&& strstr(f->why.text, "Permission denied") != NULL
				? 0
				: 1);
	}
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(chmod(f->directory, 0700), 0);
}

static void test_second_opener(void **state)
{
	struct fixture *f = *state;
	struct outbox *second = NULL;
	char pid[32];
	reopen(f);
	(void)snprintf(pid, sizeof pid, "process %ld;", (long)getpid());
	assert_int_equal(outbox_open(&f->options, &second, &f->why), OTA_ERR_CONFLICT);
	assert_null(second);
	assert_non_null(strstr(f->why.text, pid));
	assert_non_null(strstr(f->why.text, f->directory));
	append_range(f, 1, 10); /* the first one is not disturbed */
	reopen(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk_full, setup, teardown_mount),
		cmocka_unit_test_setup_teardown(test_disk_full_gather, setup, teardown_mount),
		cmocka_unit_test_setup_teardown(test_full_gather, setup, teardown),
		cmocka_unit_test_setup_teardown(test_options, setup, teardown),
		cmocka_unit_test_setup_teardown(test_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_writable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_opener, setup, teardown),
	};
	return cmocka_run_group_tests_name("outbox limits", tests, NULL, NULL);
}
