/*
 * rollout_state - the states of a rollout and the steps between them, as one table.
 *
 * Pure.  Thread: any.  The same table is in the database (ota.rollout_transition), where a trigger refuses
 * every other change; a test compares the two.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ota/base/error.h"

enum rollout_state {
	ROLLOUT_SCHEDULED = 0,
	ROLLOUT_RUNNING,
	ROLLOUT_PAUSED,
	ROLLOUT_HALTED,
	ROLLOUT_COMPLETED,
	ROLLOUT_CANCELLED,
	ROLLOUT_SUPERSEDED,
	ROLLOUT_STATE_COUNT
};

enum rollout_event {
	ROLLOUT_EV_START = 0, /* its time has come */
	ROLLOUT_EV_PAUSE,
	ROLLOUT_EV_RESUME,
	ROLLOUT_EV_HALT,     /* verdict, operator or revocation */
	ROLLOUT_EV_COMPLETE, /* the last stage passed */
	ROLLOUT_EV_CANCEL,
	ROLLOUT_EV_SUPERSEDE, /* a newer release goes to the same fleet */
	ROLLOUT_EVENT_COUNT
};

struct rollout_transition {
	enum rollout_state from;
	enum rollout_event event;
	enum rollout_state to;
	const char *why;
};

/* The row for (from, event), of static storage; NULL: impossible. */
OTA_MUST_USE const struct rollout_transition *rollout_next(
	enum rollout_state from, enum rollout_event event);

/* The whole table, for tests and for printing it as a diagram. */
const struct rollout_transition *rollout_transitions(size_t *count) __attribute__((nonnull));

/* Names as in the column ota.rollout.state, static and never NULL; parse returns false for anything else. */
const char *rollout_state_name(enum rollout_state state);
OTA_MUST_USE bool rollout_state_parse(const char *name, enum rollout_state *state);
const char *rollout_event_name(enum rollout_event event);
