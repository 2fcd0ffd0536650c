/*
 * fleet - the event loop of one process: its devices, their timers, the bounded rate of connections.
 *
 * Thread: one, everything.  Ownership: the fleet owns its devices and what they share; the setup
 * belongs to the caller.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common.h"
#include "device.h"
#include "download.h"
#include "ledger.h"
#include "options.h"
#include "timers.h"
#include "verify.h"

struct console;
struct output;

/* What the processes of a run have in common. */
struct fleet_setup {
	struct ledger *ledger;
	struct output *output;
	struct keyring *keyring; /* NULL: nothing is verified */
	struct console *console; /* NULL: another process prints */
};

struct fleet {
	const struct options *options;
	struct ledger *ledger;
	struct board *board; /* this process's */
	struct console *console;
	struct device *devices;
	size_t count;
	struct timers timers;
	struct downloads *downloads;
	struct keyring *keyring; /* NULL: nothing is verified */
	struct output *output;
	struct name_pool names;
	uint32_t *queue; /* ring of devices that want to connect, `count` places */
	size_t queue_first;
	size_t queue_count;
	double tokens; /* connections that may begin now */
	uint64_t tokens_at;
	uint64_t started_at;
	uint64_t resident_at_start;
	size_t maintained; /* next device for keep-alive */
	int epoll;
	int signals;
	bool stopping;
	bool complained;
};

/* Allow as many open files as one process needs; false after a message. */
bool fleet_raise_file_limit(const struct options *options) __attribute__((warn_unused_result));

/* Prepare the devices of process `number` and start them; false after a message.  fleet_close() in
 * both cases. */
bool fleet_open(struct fleet *fleet, const struct fleet_setup *setup, size_t number)
	__attribute__((warn_unused_result));
void fleet_close(struct fleet *fleet);

/* Run until a signal, the duration's end or (when alone) the awaited version; then disconnect
 * cleanly. */
void fleet_run(struct fleet *fleet);

/* Let `device` connect as soon as the connection rate allows. */
void fleet_queue_connect(struct fleet *fleet, struct device *device);

/* Count connection results; the first failure and the first refusal are printed. */
void fleet_note_connected(struct fleet *fleet, const struct device *device);
void fleet_note_failure(struct fleet *fleet, int mosquitto_code);
void fleet_note_refusal(struct fleet *fleet, const char *reason);
