#include "ota/store/firmware.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ota/base/clock.h"
#include "ota/base/descriptors.h"
#include "ota/base/queue.h"

#include "firmware_internal.h"

enum {
	SEARCH_AGAIN_MS = 3000, /* what was missing is looked for again then, when it is asked for */
};

struct firmware {
	struct firmware_files files; /* of the thread */
	struct queue *todo;          /* with room for all jobs, as `done` */
	struct queue *done;
	size_t given; /* of the broker's thread: jobs that were not taken back */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool asleep;   /* under the lock */
	bool stopping; /* under the lock */
	pthread_t thread;
};

static enum block_status read_all(
	struct firmware_files *files, struct image *image, struct block_job *job)
{
	uint32_t done = 0;

	while (done < job->length) {
		ssize_t got = pread(
			image->fd, job->data + done, job->length - done, (off_t)(job->offset + (int64_t)done));

		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			files_unreadable(files, image, errno);
		}
		if (got <= 0) { /* 0: it is shorter now, as its size says */
			return BLOCK_LATER;
		}
		done += (uint32_t)got;
	}
	return BLOCK_OK;
}

static enum block_status work(struct firmware_files *files, struct block_job *job)
{
	struct image *image = files_image(files, job);
	enum block_status status = BLOCK_OK;

	if (image->state == IMAGE_MISSING && clock_mono_ms() - image->searched_ms >= SEARCH_AGAIN_MS) {
		image->state = IMAGE_UNKNOWN;
	}
	if (image->state == IMAGE_MISSING) {
		return BLOCK_MISSING;
	}
	if (image->state != IMAGE_READY || !files_unchanged(files, image)) {
		return BLOCK_LATER;
	}
	if (job->length > 0) {
		status = read_all(files, image, job);
	}
	/* Once more: nothing that was written meanwhile gets out. */
	return files_unchanged(files, image) ? status : BLOCK_LATER;
}

/* Wait for something to do.  NULL: to search on, or (`*stopping`) to end. */
static struct block_job *next_job(struct firmware *firmware, bool searching, bool *stopping)
{
	struct block_job *job;

	(void)pthread_mutex_lock(&firmware->lock);
	for (;;) {
		job = queue_pop(firmware->todo);
		*stopping = firmware->stopping;
		if (job || *stopping || searching) {
			break;
		}
		firmware->asleep = true;
		(void)pthread_cond_wait(&firmware->wake, &firmware->lock);
		firmware->asleep = false;
	}
	(void)pthread_mutex_unlock(&firmware->lock);
	return job;
}

static void *run(void *argument)
{
	struct firmware *firmware = argument;
	bool stopping = false;
	bool searching = false;

	/* A shared table of open files would cost the broker's thread at each read() and write(). */
	(void)descriptors_own(NULL, 0);
	files_greet(&firmware->files);
	for (;;) {
		struct block_job *job = next_job(firmware, searching, &stopping);

		if (stopping) {
			break;
		}
		if (job) {
			job->status = work(&firmware->files, job);
			(void)!queue_push(firmware->done, job); /* there is a place for each job */
		}
		searching = files_search(&firmware->files);
	}
	files_clear(&firmware->files);
	return NULL;
}

static enum ota_err start_thread(struct firmware *firmware, struct ota_why *why)
{
	sigset_t all;
	sigset_t old;
	int rc;

	/* Signals are the broker's business. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&firmware->thread, NULL, run, firmware);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0) {
		ota_why_set(why, "cannot start a thread for firmware_directory (error %d)", rc);
		return OTA_ERR_IO;
	}
	(void)pthread_setname_np(firmware->thread, "ota_firmware");
	return OTA_OK;
}

static void free_all(struct firmware *firmware)
{
	queue_free(firmware->todo, NULL);
	queue_free(firmware->done, NULL);
	(void)pthread_cond_destroy(&firmware->wake);
	(void)pthread_mutex_destroy(&firmware->lock);
	free(firmware);
}

enum ota_err firmware_start(
	const char *directory, struct logring *log, struct firmware **out, struct ota_why *why)
{
	struct firmware *firmware = calloc(1, sizeof(*firmware));
	enum ota_err err = OTA_ERR_NOMEM;

	if (!firmware) {
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	(void)pthread_mutex_init(&firmware->lock, NULL); /* neither fails on Linux */
	(void)pthread_cond_init(&firmware->wake, NULL);
	firmware->todo = queue_new(FIRMWARE_JOBS_MAX);
	firmware->done = queue_new(FIRMWARE_JOBS_MAX);
	if (!files_init(&firmware->files, directory, log) || !firmware->todo || !firmware->done) {
		ota_why_set(why, "out of memory");
		goto fail;
	}
	err = start_thread(firmware, why);
	if (err) {
		goto fail;
	}
	*out = firmware;
	return OTA_OK;
fail:
	files_clear(&firmware->files);
	free_all(firmware);
	return err;
}

enum ota_err firmware_submit(void *context, struct block_job *job)
{
	struct firmware *firmware = context;
	bool asleep;

	if (firmware->given == FIRMWARE_JOBS_MAX || !queue_push(firmware->todo, job)) {
		return OTA_ERR_FULL;
	}
	firmware->given++;
	(void)pthread_mutex_lock(&firmware->lock);
	asleep = firmware->asleep;
	(void)pthread_mutex_unlock(&firmware->lock);
	if (asleep) {
		(void)pthread_cond_signal(&firmware->wake);
	}
	return OTA_OK;
}

struct block_job *firmware_take(void *context)
{
	struct firmware *firmware = context;
	struct block_job *job = queue_pop(firmware->done);

	firmware->given -= job ? 1 : 0;
	return job;
}

void firmware_stop(struct firmware *firmware)
{
	if (!firmware) {
		return;
	}
	(void)pthread_mutex_lock(&firmware->lock);
	firmware->stopping = true;
	(void)pthread_cond_signal(&firmware->wake);
	(void)pthread_mutex_unlock(&firmware->lock);
	(void)pthread_join(firmware->thread, NULL);
	free_all(firmware);
}
