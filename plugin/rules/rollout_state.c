#include "ota/rules/rollout_state.h"

#include <string.h>

static const struct rollout_transition table[] = {
	{ ROLLOUT_SCHEDULED, ROLLOUT_EV_START, ROLLOUT_RUNNING, "its start time has come" },
	{ ROLLOUT_SCHEDULED, ROLLOUT_EV_PAUSE, ROLLOUT_PAUSED, "paused before its start" },
	{ ROLLOUT_SCHEDULED, ROLLOUT_EV_HALT, ROLLOUT_HALTED, "halted before its start" },
	{ ROLLOUT_SCHEDULED, ROLLOUT_EV_CANCEL, ROLLOUT_CANCELLED, "cancelled before its start" },
	{ ROLLOUT_SCHEDULED, ROLLOUT_EV_SUPERSEDE, ROLLOUT_SUPERSEDED,
		"a newer release goes to the same fleet" },

	{ ROLLOUT_RUNNING, ROLLOUT_EV_PAUSE, ROLLOUT_PAUSED, "paused; nobody else is told" },
	{ ROLLOUT_RUNNING, ROLLOUT_EV_HALT, ROLLOUT_HALTED, "halted; told devices are recalled" },
	{ ROLLOUT_RUNNING, ROLLOUT_EV_COMPLETE, ROLLOUT_COMPLETED, "the last stage passed" },
	{ ROLLOUT_RUNNING, ROLLOUT_EV_CANCEL, ROLLOUT_CANCELLED, "cancelled" },
	{ ROLLOUT_RUNNING, ROLLOUT_EV_SUPERSEDE, ROLLOUT_SUPERSEDED,
		"a newer release goes to the same fleet" },

	{ ROLLOUT_PAUSED, ROLLOUT_EV_RESUME, ROLLOUT_RUNNING, "resumed" },
	{ ROLLOUT_PAUSED, ROLLOUT_EV_HALT, ROLLOUT_HALTED, "halted while paused" },
	{ ROLLOUT_PAUSED, ROLLOUT_EV_CANCEL, ROLLOUT_CANCELLED, "cancelled while paused" },
	{ ROLLOUT_PAUSED, ROLLOUT_EV_SUPERSEDE, ROLLOUT_SUPERSEDED,
		"a newer release goes to the same fleet" },

	{ ROLLOUT_HALTED, ROLLOUT_EV_RESUME, ROLLOUT_RUNNING, "an operator overrides the halt" },
	{ ROLLOUT_HALTED, ROLLOUT_EV_CANCEL, ROLLOUT_CANCELLED, "cancelled after the halt" },
	{ ROLLOUT_HALTED, ROLLOUT_EV_SUPERSEDE, ROLLOUT_SUPERSEDED,
		"a newer release goes to the same fleet" },

	{ ROLLOUT_COMPLETED, ROLLOUT_EV_HALT, ROLLOUT_HALTED,
		"latecomers failed, or the release was revoked" },
	{ ROLLOUT_COMPLETED, ROLLOUT_EV_SUPERSEDE, ROLLOUT_SUPERSEDED,
		"a newer release goes to the same fleet" },
};

static const char *const state_names[ROLLOUT_STATE_COUNT] = {
	[ROLLOUT_SCHEDULED] = "scheduled",
	[ROLLOUT_RUNNING] = "running",
	[ROLLOUT_PAUSED] = "paused",
	[ROLLOUT_HALTED] = "halted",
	[ROLLOUT_COMPLETED] = "completed",
	[ROLLOUT_CANCELLED] = "cancelled",
	[ROLLOUT_SUPERSEDED] = "superseded",
};

static const char *const event_names[ROLLOUT_EVENT_COUNT] = {
	[ROLLOUT_EV_START] = "start",
	[ROLLOUT_EV_PAUSE] = "pause",
	[ROLLOUT_EV_RESUME] = "resume",
	[ROLLOUT_EV_HALT] = "halt",
	[ROLLOUT_EV_COMPLETE] = "complete",
	[ROLLOUT_EV_CANCEL] = "cancel",
	[ROLLOUT_EV_SUPERSEDE] = "supersede",
};

const struct rollout_transition *rollout_transitions(size_t *count)
{
	*count = sizeof(table) / sizeof(table[0]);
	return table;
}

const struct rollout_transition *rollout_next(enum rollout_state from, enum rollout_event event)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].from == from && table[i].event == event) {
			return &table[i];
		}
	}
	return NULL;
}

const char *rollout_state_name(enum rollout_state state)
{
	return (size_t)state < ROLLOUT_STATE_COUNT ? state_names[state] : "unknown";
}

bool rollout_state_parse(const char *name, enum rollout_state *state)
{
	for (size_t i = 0; name && i < ROLLOUT_STATE_COUNT; i++) {
		if (strcmp(name, state_names[i]) == 0) {
			*state = (enum rollout_state)i;
			return true;
		}
	}
	return false;
}

const char *rollout_event_name(enum rollout_event event)
{
	return (size_t)event < ROLLOUT_EVENT_COUNT ? event_names[event] : "unknown";
}
