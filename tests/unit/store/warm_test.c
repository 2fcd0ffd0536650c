/* What is kept for a start without the database: it comes back, whatever is wrong with the file sets it aside. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ota/store/warm.h"

static const char conninfo[] = "host=db.example.org dbname=ota user=one password=secret";

struct fixture {
	char directory[128];
	char path[160];
	struct logring *log;
	struct warm *warm;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *parent = getenv("TMPDIR");

	assert_non_null(f);
	(void)snprintf(
		f->directory, sizeof(f->directory), "%s/warm-test-XXXXXX", parent ? parent : "/tmp");
	assert_non_null(mkdtemp(f->directory));
	(void)snprintf(f->path, sizeof(f->path), "%s/warm.state", f->directory);
	f->log = logring_new(16);
	assert_non_null(f->log);
	f->warm = warm_open(f->directory, "b1", conninfo, f->log);
	assert_non_null(f->warm);
	warm_database(f->warm, "ota 1");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	DIR *files = opendir(f->directory);
	const struct dirent *entry;

	warm_close(f->warm);
	logring_free(f->log);
	while (files && (entry = readdir(files))) {
		if (entry->d_name[0] != '.') {
			(void)unlinkat(dirfd(files), entry->d_name, 0);
		}
	}
	if (files) {
		(void)closedir(files);
	}
	(void)rmdir(f->directory);
	free(f);
	return 0;
}

/* The next line of the log; "" when there is none. */
static const char *said(struct fixture *f)
{
	static char line[LOGRING_LINE_MAX];
	enum log_level level;

	if (!logring_take(f->log, &level, line)) {
		line[0] = '\0';
	}
	return line;
}

static void reopen_as(struct fixture *f, const char *broker, const char *where)
{
	warm_close(f->warm);
	f->warm = warm_open(f->directory, broker, where, f->log);
	assert_non_null(f->warm);
}

static void reopen(struct fixture *f)
{
	reopen_as(f, "b1", conninfo);
}

static void claim(struct fixture *f, const char *device, int64_t attempt)
{
	warm_put(f->warm,
		&(const struct warm_record){ .kind = WARM_CLAIM,
			.id = 17,
			.release_id = 7,
			.attempt = attempt,
			.at_ms = 1800000000000,
			.device = device,
			.fleet = "north" });
}

static void fill(struct fixture *f)
{
	claim(f, "d1", 1);
	claim(f, "d2", 1);
	warm_put(f->warm, &(const struct warm_record){ .kind = WARM_ROLLOUT, .id = 17, .live = true });
	warm_put(f->warm, &(const struct warm_record){ .kind = WARM_CONTACT, .at_ms = 1700000000000 });
	warm_put(f->warm, &(const struct warm_record){ .kind = WARM_GATEWAYS, .text = "hub-1\nhub-2" });
	warm_flush(f->warm);
}

static void test_comes_back(void **state)
{
	struct fixture *f = *state;
	struct warm_record record;

	fill(f);
	claim(f, "d1", 2);
	warm_claim_over(f->warm, "d2");
	warm_claim_over(f->warm, "nobody");
	warm_flush(f->warm);
	reopen(f);
	assert_string_equal(said(f), "");
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), 1);
	assert_true(warm_find(f->warm, WARM_CLAIM, 0, "d1", &record));
	assert_int_equal(record.attempt, 2);
	assert_false(warm_find(f->warm, WARM_CLAIM, 0, "d2", &record));
	assert_true(warm_find(f->warm, WARM_ROLLOUT, 17, NULL, &record));
	assert_true(record.live);
	assert_false(warm_find(f->warm, WARM_ROLLOUT, 18, NULL, &record));
	assert_true(warm_find(f->warm, WARM_GATEWAYS, 0, NULL, &record));
	assert_string_equal(record.text, "hub-1\nhub-2");
	assert_int_equal(warm_contact_ms(f->warm), 1700000000000);
	/* And goes on from there. */
	claim(f, "d3", 1);
	warm_flush(f->warm);
	reopen(f);
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), 2);
	assert_string_equal(said(f), "");
}

static void test_not_flushed_is_written_at_the_end(void **state)
{
	struct fixture *f = *state;

	fill(f);
	claim(f, "d3", 1);
	reopen(f);
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), 3);
}

static void test_same_facts_write_nothing(void **state)
{
	struct fixture *f = *state;
	struct stat before;
	struct stat after;

	fill(f);
	assert_int_equal(stat(f->path, &before), 0);
	fill(f);
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(after.st_mode & 0777, 0600);
}

static void test_compared_with_a_list(void **state)
{
	struct fixture *f = *state;
	struct warm_record record;

	fill(f);
	claim(f, "d3", 1);
	warm_mark_begin(f->warm);
	claim(f, "d2", 1);
	claim(f, "d4", 1);
	warm_mark_end(f->warm, WARM_CLAIM);
	warm_flush(f->warm);
	reopen(f);
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), 2);
	assert_true(warm_find(f->warm, WARM_CLAIM, 0, "d2", &record));
	assert_true(warm_find(f->warm, WARM_CLAIM, 0, "d4", &record));
	assert_int_equal(warm_count(f->warm, WARM_ROLLOUT), 1);
}

/* It does not grow with what has happened, only with what counts. */
static void test_written_anew(void **state)
{
	struct fixture *f = *state;
	struct stat status;
	off_t highest = 0;
	bool smaller = false;

	fill(f);
	for (int i = 0; i < 40000; i++) {
		claim(f, "d1", 1 + i);
		if (i % 100 == 0) {
			warm_flush(f->warm);
			assert_int_equal(stat(f->path, &status), 0);
			smaller = smaller || status.st_size < highest;
			highest = status.st_size > highest ? status.st_size : highest;
		}
	}
	assert_true(smaller);
	assert_in_range(highest, 1, (1 << 20) + (64 << 10));
	reopen(f);
	assert_string_equal(said(f), "");
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), 2);
}

static void set_aside(struct fixture *f, const char *words)
{
	struct stat status;
	const char *line = said(f);

	if (!strstr(line, "set aside as 'warm.state.damaged-") || !strstr(line, words)) {
		fail_msg("\"%s\" instead of \"%s\"", line, words);
	}
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), 0);
	assert_int_equal(warm_count(f->warm, WARM_GATEWAYS), 0);
	assert_int_equal(warm_contact_ms(f->warm), 0);
	assert_int_not_equal(stat(f->path, &status), 0);
}

static void test_of_somebody_else(void **state)
{
	struct fixture *f = *state;

	fill(f);
	reopen_as(f, "b2", conninfo);
	set_aside(f, "another broker's");
	/* Who connects is not where. */
	reopen(f);
	warm_database(f->warm, "ota 1");
	fill(f);
	reopen_as(f, "b1", "postgresql://two:other@db.example.org/ota");
	assert_string_equal(said(f), "");
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), 2);
	reopen_as(f, "b1", "host=db2.example.org dbname=ota");
	set_aside(f, "another database, going by plugin_opt_database");
	/* The same address, but what answers there is another database. */
	reopen(f);
	warm_database(f->warm, "ota 1");
	fill(f);
	reopen(f);
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), 2);
	warm_database(f->warm, "ota 2");
	set_aside(f, "the database is another one now");
	claim(f, "d9", 1);
	warm_flush(f->warm);
	reopen(f);
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), 1);
	warm_database(f->warm, "ota 2");
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), 1);
}

static uint8_t *content(const struct fixture *f, size_t *length)
{
	static uint8_t bytes[65536];
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, bytes, sizeof(bytes));

	assert_in_range(n, 1, sizeof(bytes) - 1);
	(void)close(fd);
	*length = (size_t)n;
	return bytes;
}

static void put_content(const struct fixture *f, const uint8_t *bytes, size_t length)
{
	int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, bytes, length), length);
	(void)close(fd);
}

/* One wrong bit anywhere, or an end that is missing within a record. */
static void test_damaged(void **state)
{
	struct fixture *f = *state;
	size_t length;
	uint8_t *bytes;

	fill(f);
	warm_close(f->warm);
	f->warm = NULL;
	bytes = content(f, &length);
	for (size_t at = 0; at < length; at++) {
		bytes[at] ^= (uint8_t)(1U << at % 8);
		put_content(f, bytes, length);
		reopen(f);
		set_aside(f,
			at < 8        ? "not a file of the warm start"
				: at < 16 ? "unknown version"
						  : "damaged at byte");
		bytes[at] ^= (uint8_t)(1U << at % 8);
	}
	put_content(f, bytes, length - 1);
	reopen(f);
	set_aside(f, "damaged at byte");
	put_content(f, bytes, 7);
	reopen(f);
	set_aside(f, "not a file of the warm start");
	put_content(f, bytes, length);
	reopen(f);
	assert_string_equal(said(f), "");
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), 2);
}

/* Whole records, but one is missing from the middle: the end of a claim, say. */
static void test_record_taken_out(void **state)
{
	struct fixture *f = *state;
	size_t length;
	uint8_t *bytes;
	uint32_t size;

	fill(f);
	warm_claim_over(f->warm, "d1");
	claim(f, "d3", 1);
	warm_close(f->warm);
	f->warm = NULL;
	bytes = content(f, &length);
	for (size_t at = 16, next; at < length; at = next) {
		memcpy(&size, bytes + at, sizeof(size));
		next = at + 8 + size;
		if (next < length) {
			uint8_t *copy = malloc(length);

			assert_non_null(copy);
			memcpy(copy, bytes, at);
			memcpy(copy + at, bytes + next, length - next);
			put_content(f, copy, length - (next - at));
			free(copy);
			reopen(f);
			set_aside(f, "damaged at byte");
		}
	}
}

static void test_no_file_at_all(void **state)
{
	struct fixture *f = *state;

	fill(f);
	warm_close(f->warm);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(mkdir(f->path, 0700), 0);
	f->warm = warm_open(f->directory, "b1", conninfo, f->log);
	set_aside(f, "cannot be opened");
	assert_int_equal(symlink("/etc/passwd", f->path), 0);
	reopen(f);
	set_aside(f, "cannot be opened");
}

/* A limit of the process stands for a full disk: what cannot be kept up to date goes. */
static void test_full(void **state)
{
	struct fixture *f = *state;
	struct rlimit limit;
	struct rlimit before;
	struct stat status;
	void (*handler)(int);

	fill(f);
	assert_int_equal(stat(f->path, &status), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	handler = signal(SIGXFSZ, SIG_IGN);
	limit = (struct rlimit){ .rlim_cur = (rlim_t)status.st_size + 10, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	claim(f, "d3", 1);
	warm_flush(f->warm);
	claim(f, "d4", 1);
	warm_flush(f->warm);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	(void)signal(SIGXFSZ, handler);
	assert_non_null(strstr(said(f), "cannot write"));
	assert_string_equal(said(f), "");
	assert_int_not_equal(stat(f->path, &status), 0);
	reopen(f);
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), 0);
}

static void test_bounded(void **state)
{
	struct fixture *f = *state;
	char device[32];

	for (int i = 0; i < WARM_CLAIMS_MAX + 10; i++) {
		(void)snprintf(device, sizeof(device), "device-%d", i);
		claim(f, device, 1);
	}
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), WARM_CLAIMS_MAX);
	assert_non_null(strstr(said(f), "a restart waits for the database"));
	assert_string_equal(said(f), "");
	claim(f, "device-0", 2);
	warm_claim_over(f->warm, "device-1");
	assert_int_equal(warm_count(f->warm, WARM_CLAIM), WARM_CLAIMS_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_flushed_is_written_at_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_facts_write_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_compared_with_a_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_written_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_of_somebody_else, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_record_taken_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_file_at_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounded, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
