/*
 * update_state - one device's part in one rollout: its states and the steps between them.
 *
 * Pure: the store hands in the facts of the row and one input, and writes back what comes out.
 * The transitions are one table (from, event, to, why); the why is the audit text.
 * Thread: any.  Ownership: the caller's structs are read and changed in place, nothing is kept; texts that come
 * back are of static storage.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/rules/report.h"

enum update_state {
	UPDATE_PENDING = 0, /* chosen, not told yet (or to be told again) */
	UPDATE_NOTIFIED,
	UPDATE_DOWNLOADING,
	UPDATE_VERIFYING,
	UPDATE_APPLYING,
	UPDATE_REBOOTING,
	UPDATE_SUCCEEDED,
	UPDATE_FAILED,
	UPDATE_ROLLED_BACK,
	UPDATE_TIMED_OUT,
	UPDATE_REJECTED,
	UPDATE_CANCELLED,
	UPDATE_STATE_COUNT
};

/* What can happen to a device update; made from an input by update_advance(). */
enum update_event {
	UPDATE_EV_TOLD = 0, /* a notice is handed out */
	UPDATE_EV_UNTOLD,   /* the notice could not leave; nothing reached the device */
	UPDATE_EV_DOWNLOADING,
	UPDATE_EV_VERIFYING,
	UPDATE_EV_APPLYING,
	UPDATE_EV_REBOOTING,
	UPDATE_EV_SUCCESS, /* SUCCESS on the target version, reboot seen or not needed */
	UPDATE_EV_SUCCESS_EARLY, /* SUCCESS on the target version in the session that was told: no reboot yet */
	UPDATE_EV_TARGET_IDLE, /* a plain report on the target version: it booted, health not yet proven */
	UPDATE_EV_OLD_VERSION, /* a plain report or SUCCESS on another version */
	UPDATE_EV_FAILED,
	UPDATE_EV_ROLLED_BACK,
	UPDATE_EV_REJECTED,
	UPDATE_EV_DEFERRED,
	UPDATE_EV_SESSION_ENDED, /* the broker saw the MQTT session end */
	UPDATE_EV_RETURNED,      /* a new session began */
	UPDATE_EV_BOOT_LOOP,     /* too many new sessions in a short time */
	UPDATE_EV_DEADLINE,
	UPDATE_EV_CANCEL,       /* operator or halt */
	UPDATE_EV_RETRY,        /* operator: ota.retry_device */
	UPDATE_EV_STARTED_OVER, /* DOWNLOADING out of a later state, in a new session: the power was cut */
	UPDATE_EV_TARGET_EARLY, /* a plain report on the target version in the session that was told */
	/* The same as without _RETRY, while the plan's retries last: another attempt instead of the end. */
	UPDATE_EV_FAILED_RETRY,
	UPDATE_EV_ROLLED_BACK_RETRY, /* said so, or the old version after it had begun to apply */
	UPDATE_EV_DEADLINE_RETRY,
	UPDATE_EV_STEP_DONE, /* SUCCESS on a stepping stone: on to the rollout's own release */
	UPDATE_EVENT_COUNT   /* also what an input of no known kind means */
};

/* The facts of one row of ota.device_update.  Times are milliseconds since the Unix epoch, 0 = none. */
struct update_facts {
	enum update_state state;
	int32_t attempt;      /* 1, 2, ...; grows with each time the device is asked anew */
	int32_t retries_used; /* attempts that failed and were given another try */
	int64_t told_session; /* MQTT session in which it was told, or last reported progress */
	int32_t boots;        /* new sessions since boots_since_ms */
	int64_t boots_since_ms;
	int64_t deadline_ms;
	int64_t not_before_ms; /* deferred: not asked again before this */
	char error[64];        /* short code such as HASH_MISMATCH, empty: none */
};

struct update_limits {
	int64_t download_ms; /* from the notice until the device says that it applies or reboots */
	int64_t health_ms;   /* from there until SUCCESS */
	int32_t retries;     /* how many failed attempts get another try */
	bool reboot;         /* success needs the old session's end and a new one */
	bool step;           /* what it was told of is a stepping stone: success there is not the end */
};

enum update_input_kind {
	UPDATE_IN_REPORT = 0,
	UPDATE_IN_SESSION_STARTED,
	UPDATE_IN_SESSION_ENDED,
	UPDATE_IN_TOLD,
	UPDATE_IN_UNTOLD,
	UPDATE_IN_DEADLINE, /* the clock says that deadline_ms has passed */
	UPDATE_IN_CANCEL,
	UPDATE_IN_RETRY,
};

struct update_input {
	enum update_input_kind kind;
	int64_t at_ms;
	int64_t session; /* MQTT session of a report or of a session start; told: the current one */
	enum report_status status; /* reports only, as are the next three */
	bool runs_target;          /* the reported version is the release's */
	int64_t retry_after_ms;    /* DEFERRED: when to ask again; 0: UPDATE_DEFER_DEFAULT_MS */
	const char *error; /* short code in UTF-8 or NULL; copied, cut between characters, never kept */
};

struct update_step {
	bool accepted; /* false: an impossible step; the facts are unchanged */
	bool
		attempt_failed; /* an attempt failed, whether or not there is another try (pacing counts it) */
	enum update_event event; /* what the input meant */
	enum update_state from;
	enum update_state to;
	const char *why; /* constant text for the audit log, never NULL */
};

/* DEFERRED without retryAfter: ask again after this. */
enum {
	UPDATE_DEFER_DEFAULT_MS = 300000,
	UPDATE_DEFER_MAX_MS = 7 * 24 * 3600 * 1000
};
/* This many new sessions within the window, while notified, applying or rebooting, are a boot loop. */
enum {
	UPDATE_BOOT_LOOP_SESSIONS = 5,
	UPDATE_BOOT_LOOP_WINDOW_MS = 120000
};

/*
 * Take one step.  Changes `facts` only when the step is accepted; a refused step is for the log, not an error.
 * DEADLINE before facts->deadline_ms, or without one, is not accepted.
 *
 * Beyond the table: TOLD sets deadline and session, and from pending also forgets boots, error and not_before (told
 * again in `notified` keeps the boots, or a device that is told on every return could loop for ever).
 * Every accepted progress report sets told_session.  Entering `rebooting`, for whatever reason, sets the deadline to
 * at + health_ms; starting over out of `rebooting` gives the download time anew; `pending` and the final states have
 * no deadline.  A stepping stone that is reached makes the next attempt, and uses up no retry.  A failed attempt keeps its error until the device is told again.  A boot loop is final: trying again
 * what keeps a device from staying up is no favour.  Sums of time saturate, negative limits count as 0.
 */
OTA_MUST_USE struct update_step update_advance(struct update_facts *facts,
	const struct update_limits *limits, const struct update_input *input) __attribute__((nonnull));

/* succeeded, failed, rolled_back, timed_out, rejected, cancelled. */
OTA_MUST_USE bool update_state_is_final(enum update_state state);
/* notified .. rebooting: a notice is outstanding. */
OTA_MUST_USE bool update_state_is_in_flight(enum update_state state);
/* failed, rolled_back, timed_out: counts against the release. */
OTA_MUST_USE bool update_state_is_failure(enum update_state state);

/* Names as in the column ota.device_update.state; parse returns false for anything else. */
const char *update_state_name(enum update_state state);
OTA_MUST_USE bool update_state_parse(const char *name, enum update_state *state);
const char *update_event_name(enum update_event event);

/* The table itself, for tests and for printing it as a diagram. */
struct update_transition {
	enum update_state from;
	enum update_event event;
	enum update_state to;
	const char *why;
};
const struct update_transition *update_transitions(size_t *count) __attribute__((nonnull));

/* The row for (from, event), of static storage; NULL: impossible. */
OTA_MUST_USE const struct update_transition *update_next(
	enum update_state from, enum update_event event);
