/* The two promises under fire: a reader and a writer at full speed, and kill -9 at random moments. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

#include "outbox_fixture.h"

enum {
	CONCURRENT_RECORDS = 100000,
	KILLS = 30
};

struct reader_result {
	struct fixture *f;
	uint64_t expected; /* the next sequence */
	unsigned rewinds, sleeps;
	const char *failure; /* assertions belong to the main thread */
};

/* The store thread: batches, a failed transaction now and then, commit, sync, sleep. */
static void *reader_run(void *argument)
{
	struct reader_result *r = argument;
	struct outbox *outbox = r->f->outbox;
	uint64_t committed = 0;
	unsigned round = 0;
	uint8_t data[RECORD_FILL_MAX];
	while (committed < CONCURRENT_RECORDS && r->failure == NULL) {
		struct outbox_batch batch;
		if (outbox_read(outbox, &batch, 1 + round * 31 % 700, 100000, NULL) != OTA_OK) {
			r->failure = "read failed";
			break;
		}
		for (size_t i = 0; i < batch.count; i++, r->expected++) {
			const struct outbox_record *record = &batch.records[i];
			if (record->sequence != r->expected || record->size != record_fill(r->expected, data)
				|| memcmp(record->data, data, record->size) != 0)
				r->failure = "a record is wrong";
		}
		if (batch.count == 0) {
			struct pollfd wake = { .fd = outbox_wake_fd(outbox), .events = POLLIN };
			r->sleeps++;
			if (outbox_idle(outbox) && poll(&wake, 1, 10000) != 1)
				r->failure = "not woken within 10 s";
		} else if (++round % 16 == 0) {
			outbox_rewind(outbox);
			r->expected = committed + 1;
			r->rewinds++;
		} else {
			committed = r->expected - 1;
			if (outbox_commit(outbox, committed, NULL) != OTA_OK)
				r->failure = "commit failed";
		}
		if (round % 64 == 0 && outbox_sync(outbox, NULL) != OTA_OK)
			r->failure = "sync failed";
	}
	return NULL;
}

static void test_two_threads(void **state)
{
	struct fixture *f = *state;
	struct reader_result result = { .f = f, .expected = 1 };
	pthread_t reader;
	uint8_t data[RECORD_FILL_MAX];
	unsigned full = 0;
	const struct timespec moment = { 0, 200000 };
	reopen(f);
	skip_to(f, 0);
	assert_int_equal(pthread_create(&reader, NULL, reader_run, &result), 0);
	for (uint64_t i = 1; i <= CONCURRENT_RECORDS;) {
		size_t size = record_fill(i, data);
		enum ota_err err = i % 3 == 0 && i < CONCURRENT_RECORDS
			? outbox_gather(f->outbox, data, size, &f->why)
			: outbox_append(f->outbox, data, size, NULL, &f->why);
		if (err == OTA_OK) {
			i++;
		} else { /* 1 MiB is soon full: that must pass by itself */
			assert_int_equal(err, OTA_ERR_FULL);
			assert_true(++full < 1000000);
			(void)nanosleep(&moment, NULL);
		}
		if (i % 5000 == 0) { /* lets the reader fall asleep */
			(void)!outbox_flush(f->outbox, &f->why);
			(void)nanosleep(&moment, NULL);
		}
		(void)outbox_pending_bytes(f->outbox);
	}
	assert_int_equal(pthread_join(reader, NULL), 0);
	if (result.failure != NULL)
		fail_msg("%s at %" PRIu64, result.failure, result.expected);
	assert_int_equal(result.expected, CONCURRENT_RECORDS + 1);
	assert_true(result.rewinds > 0);
	assert_int_equal(outbox_pending_records(f->outbox), 0);
	assert_int_equal(outbox_pending_bytes(f->outbox), 0);
	assert_int_equal(files_with(f, ".log"), 1);
	assert_string_equal(f->reports, "");
}

/* Appends without end and tells each acknowledged number through the pipe; commits some on the way. */
static void child_run(struct fixture *f, int pipe_fd, uint64_t database, uint64_t next)
{
	uint8_t data[RECORD_FILL_MAX];
	struct outbox_batch batch;
	if (outbox_open(&f->options, &f->outbox, &f->why) != OTA_OK)
		_exit(2);
	if (outbox_skip_to(f->outbox, database, &f->why) != OTA_OK)
		_exit(3);
	for (;; next++) {
		uint64_t sequence = 0;
		/* One in three waits for the next one, whose acknowledgement is for both. */
		if (next % 3 == 0) {
			if (outbox_gather(f->outbox, data, record_fill(next, data), &f->why) != OTA_OK)
				_exit(7);
			continue;
		}
		enum ota_err err =
			outbox_append(f->outbox, data, record_fill(next, data), &sequence, &f->why);
		if (err != OTA_OK || sequence != next)
			_exit(4);
		if (write(pipe_fd, &sequence, sizeof sequence) != sizeof sequence)
			_exit(5);
		/* What the parent has verified is stored: commit a little of it, so that files go away. */
		if (next % 7 == 0 && outbox_read(f->outbox, &batch, 5, 1 << 20, &f->why) == OTA_OK
			&& batch.count > 0 && batch.records[batch.count - 1].sequence <= database
			&& outbox_commit(f->outbox, batch.records[batch.count - 1].sequence, &f->why) != OTA_OK)
			_exit(6);
	}
}

/* Every acknowledged record is there afterwards, once and in order, however often we are killed. */
static void test_kill(void **state)
{
	struct fixture *f = *state;
	uint64_t database = 0; /* the last sequence a real database would have */
	uint64_t random_state = 88172645463325252u;
	uint64_t next = 1;
	uint64_t acknowledged_total = 0;
	f->options.max_bytes = 8 << 20;
	for (int round = 0; round < KILLS; round++) {
		int pipe_fds[2];
		assert_int_equal(pipe(pipe_fds), 0);
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			(void)close(pipe_fds[0]);
			child_run(f, pipe_fds[1], database, next);
		}
		(void)close(pipe_fds[1]);
		random_state ^= random_state << 13; /* xorshift64 (Marsaglia 2003) */
		random_state ^= random_state >> 7;
		random_state ^= random_state << 17;
		uint64_t kill_after = random_state % 3000;
		uint64_t acknowledged = next - 1;
		uint64_t sequence;
		bool killed = false;
		while (read(pipe_fds[0], &sequence, sizeof sequence) == sizeof sequence) {
			assert_int_equal(
				sequence, acknowledged + (sequence % 3 == 1 && sequence > next ? 2 : 1));
			acknowledged = sequence;
			if (!killed && acknowledged - (next - 1) >= kill_after) {
				const struct timespec moment = { 0, (long)(random_state >> 40) % 200000 };
				(void)nanosleep(&moment, NULL);
				assert_int_equal(kill(child, SIGKILL), 0);
				killed = true;
			}
		}
		(void)close(pipe_fds[0]);
		int status = 0;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGKILL);

		reopen(f);
		assert_null(strstr(f->reports, "lost"));
		assert_null(strstr(f->reports, "aside"));
		assert_null(strstr(f->reports, "in no file"));
		uint64_t pending = outbox_pending_records(f->outbox);
		skip_to(f, database);
		struct outbox_batch batch;
		uint64_t expected = database + 1;
		uint8_t data[RECORD_FILL_MAX];
		do {
			assert_ok(outbox_read(f->outbox, &batch, 1000, 1 << 20, &f->why));
			for (size_t i = 0; i < batch.count; i++, expected++) {
				assert_int_equal(batch.records[i].sequence, expected);
				assert_int_equal(batch.records[i].size, record_fill(expected, data));
				assert_memory_equal(batch.records[i].data, data, batch.records[i].size);
			}
		} while (batch.count > 0);
		/* The one after the last acknowledged may be there, with one that waited: killed before it could tell. */
		assert_in_range(expected, acknowledged + 1, acknowledged + 3);
		assert_true(pending >= expected - 1 - database);
		acknowledged_total += acknowledged - (next - 1);
		next = expected;
		if (round % 3 == 2) { /* stored, but the outbox was not told: only skip_to says so */
			database = expected - 1;
		} else if (round % 3 == 1) {
			database = expected - 1;
			assert_ok(outbox_commit(f->outbox, database, &f->why));
		}
		outbox_close(f->outbox);
		f->outbox = NULL;
	}
	assert_true(acknowledged_total > KILLS * 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_two_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
	};
	return cmocka_run_group_tests_name("outbox crash", tests, NULL, NULL);
}
