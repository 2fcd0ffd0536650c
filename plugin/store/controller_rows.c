/* What the controller reads and writes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ota/rules/cohort.h"

#include "controller_internal.h"

enum {
	TEXT_SIZE = 24
};

enum {
	C_ID,
	C_STATE,
	C_DUE,
	C_FLEET,
	C_VERSION,
	C_RELEASE_STATE,
	C_STAGE,
	C_STAGES,
	C_ADVANCE,
	C_NEXT_ACTION,
	C_NEXT_AT,
	C_THRESHOLD,
	C_COVERAGE,
	C_EARLY_HALT,
	C_SLOW_START,
	C_APPROVAL,
	C_MAX_IN_FLIGHT,
	C_PER_MINUTE,
	C_STAGE_STATE,
	C_LABEL,
	C_REMAINING,
	C_WAIT_UNTIL,
	C_HOLD,
	C_COHORT,
	C_ADDED,
	C_IN_FLIGHT,
	C_SUCCEEDED,
	C_FAILED,
	C_ATTEMPTS_FAILED,
	C_FORGIVEN_OK,
	C_FORGIVEN_FAILED,
	C_WINDOW,
	C_PACING_OK,
	C_PACING_BAD,
	C_ALL_IN_FLIGHT,
	C_ALL_SUCCEEDED,
	C_NEXT_PERCENT,
	C_NEXT_MIN,
	C_NEXT_LABEL,
	C_WINDOW_OPEN,
	C_WINDOW_CHANGE,
	C_CLOCK_STOPPED,
	C_CLOCK_DUE,
	C_PIN_END,
	C_BLACKOUT_UNTIL
};

enum {
	/*
	 * Slots that a stage has from its opening at most: a halt takes back in one statement those that were not used.  Fewer than
	 * ota.controller_eligible() counts of the devices that all join.
	 */
	OPEN_SLOTS = 20000,
};

bool controller_row_read(const PGresult *rows, int n, struct rollout_row *row)
{
	const char *state = pg_text(rows, n, C_STATE);

	memset(row, 0, sizeof(*row));
	if (!state || !rollout_state_parse(state, &row->state)) {
		return false;
	}
	row->id = pg_int(rows, n, C_ID);
	row->due = pg_bool(rows, n, C_DUE);
	row->fleet = pg_text(rows, n, C_FLEET);
	row->version = pg_text(rows, n, C_VERSION);
	row->stage = (int32_t)pg_int(rows, n, C_STAGE);
	row->stages = (int32_t)pg_int(rows, n, C_STAGES);
	row->advance_requested = pg_bool(rows, n, C_ADVANCE);
	row->limits.threshold_ppm = (int32_t)pg_int(rows, n, C_THRESHOLD);
	row->limits.coverage_ppm = (int32_t)pg_int(rows, n, C_COVERAGE);
	row->limits.early_halt = pg_bool(rows, n, C_EARLY_HALT);
	row->limits.hold = pg_bool(rows, n, C_HOLD) || pg_bool(rows, n, C_APPROVAL);
	row->limits.last = row->stage == row->stages;
	row->limits.proven = pg_int(rows, n, C_ALL_SUCCEEDED) > 0;
	row->pacing_limits.slow_start = pg_bool(rows, n, C_SLOW_START);
	row->pacing_limits.max_in_flight = (int32_t)pg_int(rows, n, C_MAX_IN_FLIGHT);
	row->pacing_limits.per_minute = (int32_t)pg_int(rows, n, C_PER_MINUTE);
	row->stage_state = pg_text(rows, n, C_STAGE_STATE);
	row->label = pg_text(rows, n, C_LABEL);
	row->remaining_ms = pg_int(rows, n, C_REMAINING);
	row->wait_until_ms = pg_int(rows, n, C_WAIT_UNTIL);
	row->counts.cohort = pg_int(rows, n, C_COHORT);
	row->counts.added = pg_int(rows, n, C_ADDED);
	row->counts.in_flight = pg_int(rows, n, C_IN_FLIGHT);
	row->counts.ok = pg_int(rows, n, C_SUCCEEDED) - pg_int(rows, n, C_FORGIVEN_OK);
	row->counts.failed = pg_int(rows, n, C_FAILED) - pg_int(rows, n, C_FORGIVEN_FAILED);
	row->counts.told = row->counts.in_flight + row->counts.ok + row->counts.failed;
	row->succeeded = pg_int(rows, n, C_SUCCEEDED);
	row->attempts_failed = pg_int(rows, n, C_ATTEMPTS_FAILED);
	row->pacing.window = (int32_t)pg_int(rows, n, C_WINDOW);
	row->pacing.seen_ok = pg_int(rows, n, C_PACING_OK);
	row->pacing.seen_bad = pg_int(rows, n, C_PACING_BAD);
	row->all_in_flight = pg_int(rows, n, C_ALL_IN_FLIGHT);
	row->next_percent_milli = (int32_t)pg_int(rows, n, C_NEXT_PERCENT);
	row->next_min_devices = pg_int(rows, n, C_NEXT_MIN);
	row->window_open = pg_bool(rows, n, C_WINDOW_OPEN);
	row->window_change_ms = pg_int(rows, n, C_WINDOW_CHANGE);
	row->clock_stopped = pg_bool(rows, n, C_CLOCK_STOPPED);
	row->clock_due = pg_bool(rows, n, C_CLOCK_DUE);
	row->pin_end = pg_text(rows, n, C_PIN_END);
	row->blackout_until_ms = pg_int(rows, n, C_BLACKOUT_UNTIL);
	return true;
}

enum ota_err controller_call(struct pg *pg, const char *sql, size_t count, const int64_t *arguments,
	int64_t *value, struct ota_why *why)
{
	char texts[5][TEXT_SIZE];
	const char *values[5];
	PGresult *result = NULL;
	enum ota_err err;

	for (size_t i = 0; i < count; i++) {
		(void)snprintf(texts[i], sizeof(texts[i]), "%" PRId64, arguments[i]);
		values[i] = texts[i];
	}
	err = pg_exec(pg, sql, (int)count, values, &result, why);
	if (!err) {
		if (value) {
			*value = PQntuples(result) > 0 ? pg_int(result, 0, 0) : 0;
		}
		PQclear(result);
	}
	return err;
}

enum ota_err controller_step(struct controller *controller, struct pg *pg,
	const struct rollout_row *row, enum rollout_event event, const char *reason,
	struct ota_why *why)
{
	char id[TEXT_SIZE];
	/* The operator's reason for the rollout stays its reason when it starts. */
	const char *values[] = { id, rollout_event_name(event),
		event == ROLLOUT_EV_START ? NULL : reason };
	enum ota_err err;

	(void)snprintf(id, sizeof(id), "%" PRId64, row->id);
	err = pg_exec(pg, "SELECT ota.rollout_step($1, $2, $3, 'controller')", 3, values, NULL, why);
	if (!err) {
		logring_printf(controller->log,
			event == ROLLOUT_EV_HALT ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE,
			"rollout %" PRId64 " (%s to fleet %s): %s: %s", row->id, row->version, row->fleet,
			rollout_event_name(event), reason);
	}
	return err;
}

/* How many devices of a stage that opens may have a slot from the beginning: none where the pacing has something to say. */
static int64_t open_slots(const struct rollout_row *row)
{
	static const struct pacing_state fresh = { 0 };

	if (row->pacing_limits.slow_start || row->pacing_limits.max_in_flight > 0
		|| row->pacing_limits.per_minute > 0 || !row->window_open) {
		return 0;
	}
	return pacing_grants(&row->pacing_limits, &fresh, row->all_in_flight, 0, OPEN_SLOTS);
}

static enum ota_err open_stage(struct controller *controller, struct pg *pg,
	const struct rollout_row *row, struct controller_result *done, struct ota_why *why)
{
	int64_t size;
	int64_t slots;
	int64_t eligible;
	int64_t chosen;
	int64_t added;
	char texts[5][TEXT_SIZE];
	const char *values[] = { texts[0], texts[1], texts[2], texts[3], texts[4], controller->broker };
	PGresult *result = NULL;
	enum ota_err err;

	(void)snprintf(texts[0], TEXT_SIZE, "%" PRId64, row->id);
	err = pg_exec(pg, "SELECT * FROM ota.controller_eligible($1)", 1, values, &result, why);
	if (err) {
		return err;
	}
	eligible = pg_int(result, 0, 0);
	chosen = pg_int(result, 0, 1);
	PQclear(result);
	size = cohort_size(eligible, row->next_percent_milli, row->next_min_devices, row->stage == 0,
		row->stage + 1 == row->stages, chosen);
	if (size < 0) {
		ota_why_set(why, "rollout %" PRId64 " has a stage that makes no sense", row->id);
		return OTA_ERR_STATE;
	}
	slots = open_slots(row);
	(void)snprintf(texts[1], TEXT_SIZE, "%d", row->stage + 1);
	(void)snprintf(texts[2], TEXT_SIZE, "%" PRId64, eligible);
	(void)snprintf(texts[3], TEXT_SIZE, "%" PRId64, size);
	(void)snprintf(texts[4], TEXT_SIZE, "%" PRId64, slots);
	err = pg_exec(pg, "SELECT ota.controller_open_stage($1, $2::int, $3, $4, $5, $6)", 6, values,
		&result, why);
	if (err) {
		return err;
	}
	added = pg_int(result, 0, 0);
	PQclear(result);
	if (added >= 0) {
		const bool counted_later = added > 0 && added <= slots;

		controller->unanalyzed = controller->unanalyzed || counted_later;
		done->opened = done->opened || counted_later;
		/* Where all join it has not counted all of them. */
		if (eligible < chosen + added) {
			eligible = chosen + added;
		}
		logring_printf(controller->log, LOG_LEVEL_NOTICE,
			"rollout %" PRId64 " (%s to fleet %s): stage %d of %d opened: %" PRId64 " of %" PRId64
			" devices, %" PRId64 " of them new",
			row->id, row->version, row->fleet, row->stage + 1, row->stages, chosen + added,
			eligible, added);
	}
	return OTA_OK;
}

enum ota_err controller_open(struct controller *controller, struct pg *pg,
	const struct rollout_row *row, struct controller_result *done, struct ota_why *why)
{
	/* A million devices take about fifteen seconds, and a busy machine several times that. */
	enum ota_err err = pg_script(pg, "SET LOCAL statement_timeout = '10min'", why);

	if (!err) {
		pg->patience_ms = PG_SCRIPT_MS;
		err = open_stage(controller, pg, row, done, why);
		pg->patience_ms = 0;
	}
	return err;
}

enum ota_err controller_close(struct pg *pg, const struct rollout_row *row, const char *state,
	const char *verdict, struct ota_why *why)
{
	char id[TEXT_SIZE];
	char stage[TEXT_SIZE];
	const char *values[] = { id, stage, state, verdict };

	(void)snprintf(id, sizeof(id), "%" PRId64, row->id);
	(void)snprintf(stage, sizeof(stage), "%d", row->stage);
	return pg_exec(
		pg, "SELECT ota.controller_close_stage($1, $2::int, $3, $4)", 4, values, NULL, why);
}

enum ota_err controller_note(struct pg *pg, const struct rollout_row *row, const char *action,
	int64_t next_at, struct ota_why *why)
{
	char texts[6][TEXT_SIZE];
	const char *values[] = { texts[0], action, next_at ? texts[1] : NULL, texts[2], texts[3],
		texts[4], texts[5] };

	(void)snprintf(texts[0], TEXT_SIZE, "%" PRId64, row->id);
	(void)snprintf(texts[1], TEXT_SIZE, "%" PRId64, next_at);
	(void)snprintf(texts[2], TEXT_SIZE, "%d", row->stage);
	(void)snprintf(texts[3], TEXT_SIZE, "%d", row->pacing.window);
	(void)snprintf(texts[4], TEXT_SIZE, "%" PRId64, row->pacing.seen_ok);
	(void)snprintf(texts[5], TEXT_SIZE, "%" PRId64, row->pacing.seen_bad);
	return pg_exec(pg, "SELECT ota.controller_note($1, $2, $3, $4::int, $5::int, $6, $7)", 7,
		values, NULL, why);
}
