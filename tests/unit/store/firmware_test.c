/* Images in a real directory: found by size and SHA-256, read, changed, gone, and what is no file of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "ota/base/clock.h"
#include "ota/store/firmware.h"

enum {
	SIZE = 700000, /* some slices of hashing */
	PATIENCE_MS = 60000,
};

struct place {
	char directory[64];
	struct logring *log;
	struct firmware *firmware;
	uint8_t *image;
	char sha256[BLOCK_SHA256];
};

static void pause_ms(long ms)
{
	const struct timespec time = { .tv_nsec = ms * 1000000 };

	nanosleep(&time, NULL);
}

static void path_of(const struct place *place, const char *name, char path[128])
{
	assert_true(snprintf(path, 128, "%s/%s", place->directory, name) < 128);
}

static void write_file(const struct place *place, const char *name, const void *data, size_t size)
{
	char path[128];
	FILE *file;

	path_of(place, name, path);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void remove_file(const struct place *place, const char *name)
{
	char path[128];

	path_of(place, name, path);
	(void)unlink(path);
}

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	unsigned char digest[32];
	struct ota_why why = { "" };
	const char *base = getenv("TMPDIR");

	assert_non_null(place);
	(void)snprintf(
		place->directory, sizeof(place->directory), "%.40s/firmware.XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(place->directory));
	place->image = malloc(SIZE);
	assert_non_null(place->image);
	for (size_t i = 0; i < SIZE; i++) {
		place->image[i] = (uint8_t)(i * 7 + i / 251);
	}
	assert_int_equal(EVP_Digest(place->image, SIZE, digest, NULL, EVP_sha256(), NULL), 1);
	for (size_t i = 0; i < sizeof(digest); i++) {
		(void)snprintf(place->sha256 + 2 * i, 3, "%02x", digest[i]);
	}
	place->log = logring_new(256);
	assert_non_null(place->log);
	assert_int_equal(firmware_start(place->directory, place->log, &place->firmware, &why), OTA_OK);
	*state = place;
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "a.bin", "b.bin", "link", ".hidden", "pipe" };
	struct place *place = *state;

	firmware_stop(place->firmware);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		remove_file(place, names[i]);
	}
	(void)rmdir(place->directory);
	logring_free(place->log);
	free(place->image);
	free(place);
	return 0;
}

static enum block_status once(struct place *place, int64_t offset, uint32_t length, uint8_t *data)
{
	struct block_job job = { .size = SIZE, .offset = offset, .length = length, .data = data };
	const int64_t end = clock_mono_ms() + PATIENCE_MS;
	struct block_job *done = NULL;

	memcpy(job.sha256, place->sha256, sizeof(job.sha256));
	(void)snprintf(job.version, sizeof(job.version), "2.0.0");
	assert_int_equal(firmware_submit(place->firmware, &job), OTA_OK);
	while (done == NULL && clock_mono_ms() < end) {
		done = firmware_take(place->firmware);
		if (done == NULL) {
			pause_ms(1);
		}
	}
	assert_ptr_equal(done, &job);
	return job.status;
}

/* Asks until it is not put off any more. */
static enum block_status ask(struct place *place, int64_t offset, uint32_t length, uint8_t *data)
{
	const int64_t end = clock_mono_ms() + PATIENCE_MS;
	enum block_status status = BLOCK_LATER;

	while (status == BLOCK_LATER && clock_mono_ms() < end) {
		status = once(place, offset, length, data);
		pause_ms(status == BLOCK_LATER ? 2 : 0);
	}
	return status;
}

/* Asks until it is there: what is missing is looked for every few seconds only. */
static void comes(struct place *place)
{
	const int64_t end = clock_mono_ms() + PATIENCE_MS;
	uint8_t data[16];

	while (ask(place, 0, sizeof(data), data) == BLOCK_MISSING) {
		assert_true(clock_mono_ms() < end);
		pause_ms(100);
	}
	assert_int_equal(ask(place, 0, sizeof(data), data), BLOCK_OK);
	assert_memory_equal(data, place->image, sizeof(data));
}

static bool logged(struct place *place, const char *text)
{
	char line[LOGRING_LINE_MAX];
	enum log_level level;
	bool found = false;

	while (logring_take(place->log, &level, line)) {
		found = found || strstr(line, text) != NULL;
	}
	return found;
}

static void found_by_content_whatever_its_name(void **state)
{
	struct place *place = *state;
	uint8_t data[4096];

	write_file(place, "b.bin", place->image, SIZE - 1); /* another size */
	place->image[5] ^= 1;
	write_file(place, "a.bin", place->image, SIZE); /* another content */
	place->image[5] ^= 1;
	assert_int_equal(ask(place, 0, 0, NULL), BLOCK_MISSING);
	assert_true(logged(place, "a.bin has the size, and another SHA-256"));

	write_file(place, "b.bin", place->image, SIZE);
	comes(place);
	assert_true(logged(place, "release 2.0.0 can be served in blocks"));
	for (int64_t offset = 0; offset < SIZE; offset += (int64_t)sizeof(data)) {
		uint32_t length = SIZE - offset < (int64_t)sizeof(data) ? (uint32_t)(SIZE - offset)
																: (uint32_t)sizeof(data);

		assert_int_equal(once(place, offset, length, data), BLOCK_OK);
		assert_memory_equal(data, place->image + offset, length);
	}
}

static void changed_and_gone(void **state)
{
	struct place *place = *state;
	uint8_t data[16];

	write_file(place, "a.bin", place->image, SIZE);
	comes(place);
	pause_ms(20); /* more than the clock of files counts */
	place->image[SIZE - 1] ^= 1;
	write_file(place, "a.bin", place->image, SIZE);
	place->image[SIZE - 1] ^= 1;
	assert_int_equal(ask(place, 0, sizeof(data), data), BLOCK_MISSING);
	assert_true(logged(place, "a.bin has changed or is gone"));

	write_file(place, "b.bin", place->image, SIZE);
	comes(place);
	remove_file(place, "b.bin");
	assert_int_equal(ask(place, 0, sizeof(data), data), BLOCK_MISSING);
}

static void no_links_no_pipes_nothing_hidden(void **state)
{
	struct place *place = *state;
	char path[128];
	char target[128];

	write_file(place, ".hidden", place->image, SIZE);
	path_of(place, ".hidden", target);
	path_of(place, "link", path);
	assert_int_equal(symlink(target, path), 0);
	path_of(place, "pipe", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(ask(place, 0, 0, NULL), BLOCK_MISSING);
	assert_true(logged(place, "link is a symbolic link"));
}

/* None is lost, however many are done and not taken back. */
static void as_many_jobs_as_it_says(void **state)
{
	struct place *place = *state;
	struct block_job *jobs = calloc(2 * FIRMWARE_JOBS_MAX, sizeof(*jobs));
	const int64_t end = clock_mono_ms() + PATIENCE_MS;
	size_t given = 0;
	size_t back = 0;

	assert_non_null(jobs);
	while (given < 2 * FIRMWARE_JOBS_MAX) {
		struct block_job *job = &jobs[given];

		job->size = SIZE;
		memcpy(job->sha256, place->sha256, sizeof(job->sha256));
		if (firmware_submit(place->firmware, job) != OTA_OK) {
			break;
		}
		if (++given == FIRMWARE_JOBS_MAX / 2) {
			pause_ms(200); /* some of them are done */
		}
	}
	assert_int_equal(given, FIRMWARE_JOBS_MAX);
	while (back < given && clock_mono_ms() < end) {
		back += firmware_take(place->firmware) != NULL ? 1 : 0;
	}
	assert_int_equal(back, given);
	assert_int_equal(firmware_submit(place->firmware, jobs), OTA_OK);
	while (firmware_take(place->firmware) == NULL) {
		assert_true(clock_mono_ms() < end);
	}
	free(jobs);
}

static void directory_that_is_not_there(void **state)
{
	struct place *place = *state;
	struct logring *log = logring_new(16);
	struct firmware *firmware = NULL;
	struct firmware *kept = place->firmware;
	struct logring *kept_log = place->log;
	struct ota_why why = { "" };

	assert_non_null(log);
	assert_int_equal(firmware_start("/nonexistent/firmware", log, &firmware, &why), OTA_OK);
	place->firmware = firmware;
	place->log = log;
	assert_int_equal(ask(place, 0, 0, NULL), BLOCK_MISSING);
	assert_true(logged(place, "/nonexistent/firmware cannot be read: No such file or directory"));
	firmware_stop(firmware);
	logring_free(log);
	place->firmware = kept;
	place->log = kept_log;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(found_by_content_whatever_its_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(changed_and_gone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_links_no_pipes_nothing_hidden, set_up, tear_down),
		cmocka_unit_test_setup_teardown(as_many_jobs_as_it_says, set_up, tear_down),
		cmocka_unit_test_setup_teardown(directory_that_is_not_there, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
