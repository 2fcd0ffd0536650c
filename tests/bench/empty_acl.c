/*
 * empty_acl - a plugin for Mosquitto whose callbacks only return: what any plugin costs, whatever it does.
 *
 * The baseline of the benchmark `instructions`.  Without options one callback, the access check, and no thread.  Options (each on or not there):
 *   plugin_opt_events on   also the message event and the tick, for which Mosquitto prepares something on its own
 *   plugin_opt_thread on   also a second thread that sleeps until the end, and nothing else
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ota/gate/compat.h"

#define EXPORT __attribute__((visibility("default")))

static mosquitto_plugin_id_t *plugin_id;
static bool events;
static bool threaded;
static pthread_t thread;
static int stop_fd = -1;

static int allow(int event, void *data, void *userdata)
{
	(void)event;
	(void)data;
	(void)userdata;
	return MOSQ_ERR_SUCCESS;
}

static void *sleeper(void *unused)
{
	struct pollfd stop = { .fd = stop_fd, .events = POLLIN };
	(void)unused;

	while (poll(&stop, 1, -1) != 1) {
		/* a signal */
	}
	return NULL;
}

static int start_thread(void)
{
	sigset_t all;
	sigset_t old;
	int rc;

	stop_fd = eventfd(0, EFD_CLOEXEC);
	if (stop_fd < 0) {
		return MOSQ_ERR_UNKNOWN;
	}
	/* Signals are the broker's business. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, NULL, sleeper, NULL);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	threaded = rc == 0;
	return threaded ? MOSQ_ERR_SUCCESS : MOSQ_ERR_UNKNOWN;
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

EXPORT int mosquitto_plugin_init(
	mosquitto_plugin_id_t *id, void **user_data, struct mosquitto_opt *opts, int opt_count)
{
	int code = MOSQ_ERR_SUCCESS;
	bool want_thread = false;

	*user_data = NULL;
	plugin_id = id;
	for (int i = 0; i < opt_count; i++) {
		bool on = strcmp(opts[i].value, "on") == 0;

		if (on && strcmp(opts[i].key, "events") == 0) {
			events = true;
		} else if (on && strcmp(opts[i].key, "thread") == 0) {
			want_thread = true;
		} else {
			mosquitto_log_printf(MOSQ_LOG_ERR,
				"empty_acl: plugin_opt_%s %s: accepted are events and thread, each with on",
				opts[i].key, opts[i].value);
			return MOSQ_ERR_INVAL;
		}
	}
	if (want_thread) {
		code = start_thread();
	}
	if (code == MOSQ_ERR_SUCCESS) {
		code = mosquitto_callback_register(plugin_id, MOSQ_EVT_ACL_CHECK, allow, NULL, NULL);
	}
	if (code == MOSQ_ERR_SUCCESS && events) {
		code = mosquitto_callback_register(plugin_id, MOSQ_EVT_MESSAGE, allow, NULL, NULL);
	}
	if (code == MOSQ_ERR_SUCCESS && events) {
		code = mosquitto_callback_register(plugin_id, MOSQ_EVT_TICK, allow, NULL, NULL);
	}
	return code;
}

EXPORT int mosquitto_plugin_cleanup(void *user_data, struct mosquitto_opt *opts, int opt_count)
{
	(void)user_data;
	(void)opts;
	(void)opt_count;
	if (events) {
		(void)mosquitto_callback_unregister(plugin_id, MOSQ_EVT_TICK, allow, NULL);
		(void)mosquitto_callback_unregister(plugin_id, MOSQ_EVT_MESSAGE, allow, NULL);
	}
	(void)mosquitto_callback_unregister(plugin_id, MOSQ_EVT_ACL_CHECK, allow, NULL);
	if (threaded) {
		(void)eventfd_write(stop_fd, 1);
		(void)pthread_join(thread, NULL);
	}
	if (stop_fd >= 0) {
		(void)close(stop_fd);
	}
	return MOSQ_ERR_SUCCESS;
}
