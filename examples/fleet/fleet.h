/*
 * fleet - the event loop: every device, its timers, the bounded rate of connections, the counters.
 *
 * Thread: one, everything.  Ownership: the fleet owns its devices and what they share.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common.h"
#include "device.h"
#include "download.h"
#include "options.h"
#include "timers.h"
#include "verify.h"

struct output;

/* Counts of what output_event() was told, by name; a few names, so a list. */
struct event_count {
	const char *name; /* a constant */
	const char *error;
	uint64_t count;
};

enum {
	FLEET_EVENTS_MAX = 48
};

struct fleet_counters {
	struct event_count events[FLEET_EVENTS_MAX];
	size_t event_count;
	uint64_t connected;        /* CONNACKs */
	uint64_t lost;             /* connections that broke while online */
	uint64_t failed;           /* attempts that did not get a CONNACK */
	uint64_t refused;          /* CONNACKs that said no */
	uint64_t resumed;          /* downloads that broke and went on */
	uint64_t all_connected_ms; /* after the start; 0: not yet */
	uint32_t greeted;          /* devices that were connected at least once */
};

struct fleet {
	const struct options *options;
	struct device *devices;
	size_t count;
	size_t expected; /* devices that are not meant to stay offline */
	struct timers timers;
	struct downloads *downloads;
	struct keyring *keyring; /* NULL: nothing is verified */
	struct output *output;
	struct name_pool names;
	struct fleet_counters counters;
	uint32_t *queue; /* ring of devices that want to connect, `count` places */
	size_t queue_first;
	size_t queue_count;
	double tokens; /* connections that may begin now */
	uint64_t tokens_at;
	uint64_t started_at;
	uint64_t random;
	size_t maintained; /* next device for keep-alive */
	int epoll;
	int signals;
	bool stopping;
	bool reached; /* --until-version is fulfilled */
	bool complained;
};

/* Prepare everything and start the devices; false after a message.  fleet_close() in both cases. */
bool fleet_open(struct fleet *fleet, const struct options *options)
	__attribute__((warn_unused_result));
void fleet_close(struct fleet *fleet);

/* Run until a signal, the duration's end or the awaited version; then disconnect cleanly. */
void fleet_run(struct fleet *fleet);

/* A random number of milliseconds in `range`. */
uint64_t fleet_choose(struct fleet *fleet, struct range range);

/* Let `device` connect as soon as the connection rate allows. */
void fleet_queue_connect(struct fleet *fleet, struct device *device);

/* Count connection results; the first failure and the first refusal are printed. */
void fleet_note_connected(struct fleet *fleet, const struct device *device);
void fleet_note_failure(struct fleet *fleet, int mosquitto_code);
void fleet_note_refusal(struct fleet *fleet, const char *reason);

/* Devices in each phase that have their connection, and all that have. */
size_t fleet_count_online(const struct fleet *fleet);
