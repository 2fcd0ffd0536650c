/*
 * offers - the gate with a store that has nothing but offers: what telling many devices takes the broker alone, without PostgreSQL.
 *
 * A plugin.  At each SIGHUP it offers a release to the devices device-00001 ..., in pages as the store does, in a thread of its own.
 *   plugin_opt_devices N   how many
 *   plugin_opt_page N      devices a page; the first has 250
 *   plugin_opt_pace NS     how long the store would take for a device: a page comes after that many nanoseconds for each of its devices
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "ota/base/clock.h"
#include "ota/gate/compat.h"
#include "ota/gate/gate.h"
#include "ota/wire/change.h"
#include "ota/wire/manifest.h"

#define EXPORT __attribute__((visibility("default")))

enum {
	FIRST_PAGE = 250,
	CHANGES_MAX = 8192,
	ENVELOPE = 900,
	RELEASE = 7,
	ROLLOUT = 17,
	STOP = 1000000,
};

static struct options options;
static struct queue *changes;
static struct logring *lines;
static struct gate *gate;
static pthread_t thread;
static bool started;
static int wake_fd = -1;
static long devices = 1000;
static long page = 2000;
static long pace_ns;

static void push(struct change *change)
{
	while (change != NULL && !queue_push(changes, change)) {
		(void)usleep(1000);
	}
}

static void offer(long number, int32_t attempt)
{
	struct change *change = change_new(CHANGE_OFFER);
	char name[32];

	(void)snprintf(name, sizeof(name), "device-%05ld", number);
	if (change != NULL) {
		change->device = strdup(name);
		change->fleet = strdup("default");
		change->version = strdup("1.0.0");
		change->stage = strdup("full");
		change->topic = strdup(name);
		change->sequence = 1;
		change->rollout = ROLLOUT;
		change->attempt = attempt;
		change->release_id = RELEASE;
		change->deadline_ms = clock_wall_ms() + 3600000;
	}
	push(change);
}

static void give_release(void)
{
	struct change *change = change_new(CHANGE_RELEASE);
	struct ota_why why = { "" };
	struct release *release = calloc(1, sizeof(*release));
	char *envelope = calloc(1, ENVELOPE + 1);

	if (change == NULL || release == NULL || envelope == NULL
		|| manifest_from_columns("1.5.0", 7, "https://cdn.example.com/firmware/1.5.0.bin",
			   "f0e4c2f76c58916ec258f246851bea091d14d4247a2fc3e18694461b1816e13b", 1048576, NULL,
			   &release->manifest, &why)
			!= OTA_OK) {
		abort();
	}
	memset(envelope, 'e', ENVELOPE);
	memcpy(envelope, "{\"payload\":\"", 12);
	memcpy(envelope + ENVELOPE - 2, "\"}", 2);
	release->release_id = RELEASE;
	release->envelope = envelope;
	change->release_id = RELEASE;
	change->release = release;
	push(change);
	change = change_new(CHANGE_ROLLOUT);
	if (change != NULL) {
		change->rollout = ROLLOUT;
		change->live = true;
		change->serves = true;
	}
	push(change);
}

static void *store(void *unused)
{
	int32_t attempt = 0;
	eventfd_t counter;
	(void)unused;

	give_release();
	while (eventfd_read(wake_fd, &counter) == 0 && counter < STOP) {
		long size = FIRST_PAGE;

		attempt++;
		for (long done = 0; done < devices; done += size, size = page) {
			long until = done + size < devices ? done + size : devices;
			long ns = (until - done) * pace_ns;
			struct timespec pause = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

			(void)nanosleep(&pause, NULL);
			for (long i = done; i < until; i++) {
				offer(i + 1, attempt);
			}
			size = until - done;
		}
	}
	return NULL;
}

static void on_reload(void *context)
{
	(void)context;
	(void)eventfd_write(wake_fd, 1);
}

static enum ota_err take_record(void *context, const uint8_t *record, size_t length)
{
	(void)context;
	(void)record;
	(void)length;
	return OTA_OK;
}

static enum ota_err flush(void *context)
{
	(void)context;
	return OTA_OK;
}

EXPORT int mosquitto_plugin_version(int supported_version_count, const int *supported_versions)
{
	for (int i = 0; i < supported_version_count; i++) {
		if (supported_versions[i] == 5) {
			return 5;
		}
	}
	return -1;
}

static int start_thread(void)
{
	sigset_t all;
	sigset_t old;
	int rc;

	/* Signals are the broker's business. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, NULL, store, NULL);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	started = rc == 0;
	return started ? MOSQ_ERR_SUCCESS : MOSQ_ERR_UNKNOWN;
}

EXPORT int mosquitto_plugin_init(
	mosquitto_plugin_id_t *id, void **user_data, struct mosquitto_opt *opts, int opt_count)
{
	const struct option_pair pairs[] = {
		{ "database", "postgresql:///none" },
		{ "trusted_keys", "/none" },
		{ "acl_other_topics", "allow" },
	};
	const bool modern = gate_broker_is_modern(id);
	struct gate_links links = {
		.append = take_record, .gather = take_record, .flush = flush, .reload = on_reload
	};
	struct ota_why why = { "" };

	*user_data = NULL;
	for (int i = 0; i < opt_count; i++) {
		long value = strtol(opts[i].value, NULL, 10);

		if (strcmp(opts[i].key, "devices") == 0) {
			devices = value;
		} else if (strcmp(opts[i].key, "page") == 0) {
			page = value;
		} else if (strcmp(opts[i].key, "pace") == 0) {
			pace_ns = value;
		}
	}
	wake_fd = eventfd(0, EFD_CLOEXEC);
	changes = queue_new(CHANGES_MAX);
	lines = logring_new(64);
	if (wake_fd < 0 || changes == NULL || lines == NULL
		|| options_parse(pairs, 3, !modern, &options, &why) != OTA_OK) {
		mosquitto_log_printf(MOSQ_LOG_ERR, "offers: %s", why.text);
		return MOSQ_ERR_UNKNOWN;
	}
	links.changes = changes;
	links.log = lines;
	if (gate_start(id, &options, &links, modern, &gate, &why) != OTA_OK) {
		mosquitto_log_printf(MOSQ_LOG_ERR, "offers: %s", why.text);
		return MOSQ_ERR_UNKNOWN;
	}
	return start_thread();
}

static void free_change(void *change)
{
	change_free(change);
}

EXPORT int mosquitto_plugin_cleanup(void *user_data, struct mosquitto_opt *opts, int opt_count)
{
	(void)user_data;
	(void)opts;
	(void)opt_count;
	if (started) {
		(void)eventfd_write(wake_fd, STOP);
		(void)pthread_join(thread, NULL);
	}
	gate_stop(gate);
	queue_free(changes, free_change);
	logring_free(lines);
	options_free(&options);
	return MOSQ_ERR_SUCCESS;
}
