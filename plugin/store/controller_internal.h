/* What the controller's files share; see ota/store/controller.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/table.h"
#include "ota/rules/pacing.h"
#include "ota/rules/rollout_state.h"
#include "ota/rules/verdict.h"
#include "ota/store/controller.h"

enum {
	MINUTE_SLOTS = 60
};

/* Devices told in each of the last sixty seconds, for the cap per minute. */
struct recent {
	int64_t rollout; /* key */
	int64_t second;  /* of the newest slot */
	int64_t told[MINUTE_SLOTS];
	UT_hash_handle hh;
};

/* A rollout whose last step failed. */
struct trouble {
	int64_t rollout; /* key */
	enum rollout_state state;
	int64_t pause_ms;
	int64_t again_at; /* monotonic */
	UT_hash_handle hh;
};

struct controller {
	const char *broker;
	struct logring *log;
	bool leads;
	struct recent *recents;
	struct trouble *troubles;
	int64_t audit_at; /* monotonic: next look at the months of the audit log */
	bool unanalyzed;  /* a stage has opened without ANALYZE */
};

/* One row of ota.controller_read(). */
struct rollout_row {
	int64_t id;
	enum rollout_state state;
	bool due;
	const char *fleet;
	const char *version;
	int32_t stage;
	int32_t stages;
	bool advance_requested;
	struct stage_limits limits;
	struct pacing_limits pacing_limits;
	const char *stage_state;
	const char *label;
	int64_t remaining_ms;
	int64_t wait_until_ms;
	struct stage_counts counts;
	int64_t succeeded;
	int64_t attempts_failed;
	struct pacing_state pacing;
	int64_t all_in_flight;
	int32_t next_percent_milli;
	int64_t next_min_devices;
	bool window_open;          /* devices may be told now */
	int64_t window_change_ms;  /* wall clock; 0: never */
	bool clock_stopped;        /* the stage's wait stands still */
	bool clock_due;            /* ... and that has to change */
	int64_t blackout_until_ms; /* wall clock; 0: none is on */
	const char *pin_end;       /* why the rollout of a pinned device cannot go on; NULL: it can */
};

/* Take row `n` of ota.controller_read(); the strings stay in `rows`.  False: a state this plugin does not know. */
bool controller_row_read(const PGresult *rows, int n, struct rollout_row *row);

/* SQL with up to five integer parameters that gives one integer back (may be NULL). */
OTA_MUST_USE enum ota_err controller_call(struct pg *pg, const char *sql, size_t count,
	const int64_t *arguments, int64_t *value, struct ota_why *why);

/* One step of the rollout's state, with its audit row and log line. */
OTA_MUST_USE enum ota_err controller_step(struct controller *controller, struct pg *pg,
	const struct rollout_row *row, enum rollout_event event, const char *reason,
	struct ota_why *why);
/* Open the stage after the present one with its cohort. */
OTA_MUST_USE enum ota_err controller_open(struct controller *controller, struct pg *pg,
	const struct rollout_row *row, struct controller_result *done, struct ota_why *why);
/* Store the verdict on the present stage: "passed" or "held". */
OTA_MUST_USE enum ota_err controller_close(struct pg *pg, const struct rollout_row *row,
	const char *state, const char *verdict, struct ota_why *why);
/* What comes next, for people; next_at_ms 0: unknown.  Keeps the pacing too. */
OTA_MUST_USE enum ota_err controller_note(struct pg *pg, const struct rollout_row *row,
	const char *action, int64_t next_at_ms, struct ota_why *why);

/* The last minute of this rollout; read from the rows when this broker has not led it so far. */
OTA_MUST_USE enum ota_err recent_get(struct controller *controller, struct pg *pg, int64_t rollout,
	struct recent **out, struct ota_why *why);
int64_t recent_sum(const struct recent *recent);
void recent_add(struct recent *recent, int64_t told);

/* Is it too early to try this rollout's step again? */
OTA_MUST_USE bool trouble_waits(struct controller *controller, const struct rollout_row *row);
/*
 * Its step failed with this problem, and was rolled back: the next try comes 1 s later, then 2 s, 4 s, at most a minute, at once when
 * an operator has changed its state.  Says so in the log and, for people, as what happens next.  An error: the connection's.
 */
OTA_MUST_USE enum ota_err trouble_note(struct controller *controller, struct pg *pg,
	const struct rollout_row *row, const char *problem, struct ota_why *why);
/* Its step went well; to be called in that step's transaction. */
OTA_MUST_USE enum ota_err trouble_over(
	struct controller *controller, struct pg *pg, int64_t rollout, struct ota_why *why);
/* Forget all of them. */
void trouble_reset(struct controller *controller);

/* Every ten minutes: months of the audit log are made ahead, old ones dropped.  What cannot be done is said, and tried again. */
OTA_MUST_USE enum ota_err controller_audit(
	struct controller *controller, struct pg *pg, struct ota_why *why);
