/*
 * ledger - what a run has seen: a record for each device, a board for each process.
 *
 * In memory that the processes of a run share.  Each process writes its own devices' records and
 * its own board; the one that prints reads all of them, while they run for a rough picture, and
 * after they have ended for the summary.  Ownership: ledger_open() allocates, ledger_close() frees.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image.h"
#include "options.h"

enum {
	LEDGER_VERSIONS =
		32, /* distinct versions a process can tell apart; the last place is "others" */
	LEDGER_EVENTS = 64
};

/* What happens to a device's update; the names are those of --events. */
enum event {
	EVENT_NOTICE,
	EVENT_DUPLICATE,
	EVENT_INVALID,
	EVENT_RECALL, /* nothing undone */
	EVENT_CANCELLED,
	EVENT_SUPERSEDED,
	EVENT_SUCCESS,
	EVENT_FAILED,
	EVENT_ROLLED_BACK,
	EVENT_SILENT_ROLLBACK,
	EVENT_REJECTED,
	EVENT_DEFERRED,
	EVENT_SILENT,
	EVENT_POWERCUT,
	EVENT_DARK,
	EVENT_LIE,
	EVENT_COUNT
};

/* How a device's last update stands, in the device's own, true view. */
enum outcome {
	OUTCOME_NOT_TOLD,
	OUTCOME_IN_PROGRESS,
	OUTCOME_SUCCEEDED,
	OUTCOME_FAILED,
	OUTCOME_ROLLED_BACK,
	OUTCOME_DARK,
	OUTCOME_LIED,
	OUTCOME_REJECTED,
	OUTCOME_DEFERRED,
	OUTCOME_CANCELLED,
	OUTCOME_SILENT,
	OUTCOME_COUNT
};

struct record {
	uint64_t told_at; /* wall clock, ms: the first notice of the last rollout; 0: none */
	uint64_t ended_at;
	uint64_t bytes;    /* downloaded, again after a restart from the beginning included */
	const char *error; /* a constant; the processes are copies of one program */
	int64_t rollout;
	uint32_t attempt; /* of the last notice */
	uint32_t notices; /* taken up, repetitions not counted */
	uint32_t connections;
	uint32_t lost;    /* connections that broke, reboots not counted */
	uint32_t resumed; /* transfers that broke and went on */
	uint32_t reports;
	uint8_t profile; /* enum profile */
	uint8_t detail;  /* enum death or enum lie */
	uint8_t outcome; /* enum outcome */
	uint8_t phase;   /* enum device_phase, as of the last look */
	uint8_t before;  /* version at the start and now: places in the board's table */
	uint8_t version;
	bool online;
};

struct event_count {
	enum event event;
	const char *error; /* a constant */
	uint64_t count;
};

struct board {
	struct event_count events[LEDGER_EVENTS];
	size_t event_count;
	char versions[LEDGER_VERSIONS][IMAGE_VERSION_MAX + 1];
	uint32_t version_count;
	uint64_t connected;        /* CONNACKs */
	uint64_t lost;             /* connections that broke while online */
	uint64_t failed;           /* attempts that did not get a CONNACK */
	uint64_t refused;          /* CONNACKs that said no */
	uint64_t resumed;          /* downloads that broke and went on */
	uint64_t bytes;            /* downloaded */
	uint64_t unacked;          /* reports without an acknowledgement, at the last look */
	uint64_t all_connected_ms; /* after the start; 0: not yet */
	uint64_t resident;         /* bytes of memory at the last look, and more than at the start */
	uint64_t grown;
	uint64_t cpu_us;
	uint32_t first; /* its devices in ledger.records */
	uint32_t count;
	uint32_t expected; /* devices that are not meant to stay offline */
	uint32_t greeted;  /* devices that were connected at least once */
	bool started;      /* its devices could be set up */
	atomic_bool reached;
};

struct ledger {
	const struct options *options;
	struct record *records;
	struct board *boards;
	size_t count; /* devices */
	size_t processes;
	uint64_t started_at; /* common_now_ms() */
};

/* Shared, zeroed memory for all devices, divided among the processes; false after a message. */
bool ledger_open(struct ledger *ledger, const struct options *options)
	__attribute__((warn_unused_result));
void ledger_close(struct ledger *ledger);

const char *ledger_event_name(enum event event);
const char *ledger_outcome_name(enum outcome outcome);

/* Count `event` and note in `record` what it means.  `error` is a constant, "" for none. */
void ledger_note(struct board *board, struct record *record, enum event event, const char *error);

/* A notice of `rollout` and `attempt` was taken up: EVENT_NOTICE follows. */
void ledger_begin(struct record *record, int64_t rollout, uint32_t attempt);

/* The place of `version` in the board's table, added when it is new. */
uint8_t ledger_version(struct board *board, const char *version);

/* Has any process got as far as running its devices? */
bool ledger_has_started(const struct ledger *ledger);

/* Is every device connected that is meant to be?  Sets `*after_ms` to when that was. */
bool ledger_all_connected(const struct ledger *ledger, uint64_t *after_ms);
