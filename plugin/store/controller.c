#include "ota/store/controller.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller_internal.h"

enum {
	EXPIRED_LIMIT = 1000,
	/* More are given their turn in the next pass, a moment later. */
	GRANT_LIMIT = 5000,
};

struct controller *controller_new(const char *broker, struct logring *log)
{
	struct controller *controller = calloc(1, sizeof(*controller));

	if (controller) {
		controller->broker = broker;
		controller->log = log;
	}
	return controller;
}

void controller_reset(struct controller *controller)
{
	struct recent *recent;
	struct recent *next;

	controller->leads = false;
	controller->audit_at = 0;
	controller->unanalyzed = false;
	HASH_ITER(hh, controller->recents, recent, next) {
		HASH_DEL(controller->recents, recent);
		free(recent);
	}
	trouble_reset(controller);
}

void controller_free(struct controller *controller)
{
	if (controller) {
		controller_reset(controller);
		free(controller);
	}
}

/* Give devices of the open stage their turn, as the pacing allows. */
static enum ota_err grant(struct controller *controller, struct pg *pg, struct rollout_row *row,
	struct controller_result *done, struct ota_why *why)
{
	struct recent *recent = NULL;
	int64_t arguments[2] = { row->id, 0 };
	int64_t granted = 0;
	enum ota_err err = OTA_OK;

	if (!row->window_open) {
		return OTA_OK;
	}
	pacing_fold(&row->pacing, row->succeeded, row->attempts_failed);
	if (row->pacing_limits.per_minute > 0) {
		err = recent_get(controller, pg, row->id, &recent, why);
		if (err) {
			return err;
		}
	}
	arguments[1] = pacing_grants(&row->pacing_limits, &row->pacing, row->all_in_flight,
		recent ? recent_sum(recent) : 0, row->counts.waiting);
	if (arguments[1] > GRANT_LIMIT) {
		arguments[1] = GRANT_LIMIT;
	}
	if (arguments[1] > 0) {
		err =
			controller_call(pg, "SELECT ota.controller_grant($1, $2)", 2, arguments, &granted, why);
	}
	if (!err && granted > 0) {
		done->acted = true;
		if (recent) {
			recent_add(recent, granted);
		}
	}
	return err;
}

static enum ota_err count_waiting(struct pg *pg, struct rollout_row *row, struct ota_why *why)
{
	/* Enough for the next turn and for the verdict's question whether reachable devices still wait. */
	int64_t arguments[2] = { row->id, GRANT_LIMIT };

	return controller_call(
		pg, "SELECT ota.controller_waiting($1, $2)", 2, arguments, &row->counts.waiting, why);
}

/*
 * First of all the rollout, as operators' functions and hand-outs do: whoever locks a stage's counters first and wants the rollout
 * then waits for somebody who has it the other way round.
 */
static enum ota_err lock(struct pg *pg, const struct rollout_row *row, struct ota_why *why)
{
	const int64_t expected = row->state == ROLLOUT_SCHEDULED ? 1
		: row->state == ROLLOUT_RUNNING                      ? 2
															 : 3;
	int64_t state = 0;
	enum ota_err err =
		controller_call(pg, "SELECT ota.controller_lock($1)", 1, &row->id, &state, why);

	if (!err && state != expected) {
		ota_why_set(why, "an operator was quicker");
		err = OTA_ERR_CONFLICT;
	}
	return err;
}

/* Words for what the controller waits for. */
static const char *waiting_for(const struct rollout_row *row, const struct stage_decision *decision)
{
	if (strcmp(row->stage_state, "held") == 0) {
		return "wait for ota.advance_rollout";
	}
	switch (decision->rule) {
	case VERDICT_RULE_CLOCK:
		return "verdict when the stage's wait is over";
	case VERDICT_RULE_NO_EVIDENCE:
		return "verdict when the first device has finished";
	case VERDICT_RULE_UNTOLD:
		return "tell the devices of the stage that are reachable";
	case VERDICT_RULE_COVERAGE:
		return "verdict when enough of the told devices have finished";
	case VERDICT_RULE_INVALID:
	case VERDICT_RULE_TOO_MANY:
	case VERDICT_RULE_SEQUENTIAL:
	case VERDICT_RULE_BELOW:
	case VERDICT_RULE_PASS:
	case VERDICT_RULE_EMPTY:
	case VERDICT_RULE_AWAY:
		break;
	}
	return decision->why;
}

/* Nobody may be told now. */
static enum ota_err note_closed(struct pg *pg, const struct rollout_row *row, struct ota_why *why)
{
	if (row->blackout_until_ms != 0) {
		return controller_note(
			pg, row, "wait for the end of the blackout", row->blackout_until_ms, why);
	}
	return controller_note(pg, row, "wait for the update window", row->window_change_ms, why);
}

/* Note what the controller waits for, and until when. */
static enum ota_err note_waiting(struct pg *pg, const struct rollout_row *row,
	const struct stage_decision *decision, struct ota_why *why)
{
	bool held = strcmp(row->stage_state, "held") == 0;

	if (!row->window_open && !held
		&& (row->clock_stopped || row->counts.waiting > 0 || row->counts.told == 0)) {
		return note_closed(pg, row, why);
	}
	return controller_note(pg, row, waiting_for(row, decision),
		decision->rule == VERDICT_RULE_CLOCK ? row->wait_until_ms : 0, why);
}

/* Close the stage as passed and go on: to the next stage, or to the end. */
static enum ota_err pass_stage(struct controller *controller, struct pg *pg,
	struct rollout_row *row, const char *verdict, struct controller_result *done,
	struct ota_why *why)
{
	enum ota_err err = controller_close(pg, row, "passed", verdict, why);

	if (err) {
		return err;
	}
	if (row->limits.last) {
		err = controller_note(pg, row, NULL, 0, why);
		return err ? err : controller_step(controller, pg, row, ROLLOUT_EV_COMPLETE, verdict, why);
	}
	return controller_open(controller, pg, row, done, why);
}

static enum ota_err run_open_stage(struct controller *controller, struct pg *pg,
	struct rollout_row *row, struct controller_result *done, struct ota_why *why)
{
	bool held = strcmp(row->stage_state, "held") == 0;
	struct stage_decision decision;
	enum ota_err err = lock(pg, row, why);

	if (!err) {
		err = count_waiting(pg, row, why);
	}
	if (err) {
		return err;
	}
	decision =
		verdict_decide(&row->limits, &row->counts, row->advance_requested ? 0 : row->remaining_ms);
	if (decision.verdict == VERDICT_HALT) {
		done->acted = true;
		err = controller_note(pg, row, NULL, 0, why);
		return err ? err : controller_step(controller, pg, row, ROLLOUT_EV_HALT, decision.why, why);
	}
	if (row->advance_requested) {
		char verdict[200];

		done->acted = true;
		(void)snprintf(verdict, sizeof(verdict), "advanced by an operator; %s", decision.why);
		return pass_stage(controller, pg, row, verdict, done, why);
	}
	if (decision.verdict == VERDICT_ADVANCE || decision.verdict == VERDICT_COMPLETE) {
		done->acted = true;
		return pass_stage(controller, pg, row, decision.why, done, why);
	}
	if (decision.verdict == VERDICT_HOLD && !held) {
		done->acted = true;
		return controller_close(pg, row, "held", decision.why, why);
	}
	err = grant(controller, pg, row, done, why);
	return err ? err : note_waiting(pg, row, &decision, why);
}

/* A completed rollout still serves devices that had been away, and is still judged. */
static enum ota_err serve_latecomers(struct controller *controller, struct pg *pg,
	struct rollout_row *row, struct controller_result *done, struct ota_why *why)
{
	struct stage_decision decision;
	enum ota_err err = count_waiting(pg, row, why);

	if (err || (row->counts.waiting == 0 && row->counts.in_flight == 0)) {
		return err;
	}
	err = lock(pg, row, why);
	if (err) {
		return err;
	}
	decision = verdict_decide(&row->limits, &row->counts, 0);
	if (decision.verdict == VERDICT_HALT) {
		done->acted = true;
		return controller_step(controller, pg, row, ROLLOUT_EV_HALT, decision.why, why);
	}
	done->active = true;
	err = grant(controller, pg, row, done, why);
	if (!err && !row->window_open && row->counts.waiting > 0) {
		return note_closed(pg, row, why);
	}
	return err ? err : controller_note(pg, row, NULL, 0, why);
}

static enum ota_err start(struct controller *controller, struct pg *pg, struct rollout_row *row,
	struct controller_result *done, struct ota_why *why)
{
	enum ota_err err = lock(pg, row, why);

	if (!err) {
		err =
			controller_call(pg, "SELECT ota.rollout_supersede_others($1)", 1, &row->id, NULL, why);
	}
	if (!err) {
		err = controller_step(controller, pg, row, ROLLOUT_EV_START, "its time has come", why);
	}
	if (!err) {
		done->acted = true;
		row->state = ROLLOUT_RUNNING;
	}
	return err;
}

/* A device runs what was halted: begin the way back. */
static enum ota_err fall_back(struct controller *controller, struct pg *pg, struct rollout_row *row,
	struct controller_result *done, struct ota_why *why)
{
	int64_t id = 0;
	enum ota_err err =
		controller_call(pg, "SELECT ota.controller_fallback($1)", 1, &row->id, &id, why);

	if (!err) {
		done->acted = true;
	}
	if (!err && id > 0) {
		logring_printf(controller->log, LOG_LEVEL_WARNING,
			"rollout %" PRId64 " (%s to fleet %s) is halted: rollout %" PRId64
			" returns its devices",
			row->id, row->version, row->fleet, id);
	}
	return err;
}

static enum ota_err run_one(struct controller *controller, struct pg *pg, struct rollout_row *row,
	struct controller_result *done, struct ota_why *why)
{
	switch (row->state) {
	case ROLLOUT_SCHEDULED:
		done->active = true;
		return row->due ? start(controller, pg, row, done, why) : OTA_OK;
	case ROLLOUT_RUNNING:
		done->active = true;
		if (row->stage == 0) {
			done->acted = true;
			return controller_open(controller, pg, row, done, why);
		}
		if (row->pin_end) {
			done->acted = true;
			return controller_step(controller, pg, row, ROLLOUT_EV_HALT, row->pin_end, why);
		}
		if (row->clock_due) {
			done->acted = true;
			return controller_call(pg, "SELECT ota.controller_clock($1)", 1, &row->id, NULL, why);
		}
		return row->stage_state ? run_open_stage(controller, pg, row, done, why) : OTA_OK;
	case ROLLOUT_COMPLETED:
		return row->stage_state ? serve_latecomers(controller, pg, row, done, why) : OTA_OK;
	case ROLLOUT_HALTED:
		return fall_back(controller, pg, row, done, why);
	case ROLLOUT_PAUSED:
	case ROLLOUT_CANCELLED:
	case ROLLOUT_SUPERSEDED:
		break;
	case ROLLOUT_STATE_COUNT:
		break;
	}
	return OTA_OK;
}

/* Each rollout's step is a transaction of its own: one that cannot move does not hold up the others. */
static enum ota_err run_in_transaction(struct controller *controller, struct pg *pg,
	struct rollout_row *row, struct controller_result *done, struct ota_why *why)
{
	const enum rollout_state before = row->state;
	enum ota_err err = pg_script(pg, "BEGIN", why);
	struct ota_why ignored;

	if (!err) {
		err = run_one(controller, pg, row, done, why);
	}
	if (!err) {
		err = trouble_over(controller, pg, row->id, why);
	}
	if (!err) {
		return pg_script(pg, "COMMIT", why);
	}
	(void)!pg_script(pg, "ROLLBACK", &ignored);
	row->state = before;
	if (err == OTA_ERR_UNAVAILABLE || err == OTA_ERR_TIMEOUT) {
		return err;
	}
	if (err == OTA_ERR_CONFLICT) {
		/* An operator was quicker: the next pass sees the new state. */
		logring_printf(
			controller->log, LOG_LEVEL_DEBUG, "rollout %" PRId64 ": %s", row->id, why->text);
		return OTA_OK;
	}
	return trouble_note(controller, pg, row, why->text, &ignored);
}

/* Rollouts that wait for their next try are left alone. */
static enum ota_err run_row(struct controller *controller, struct pg *pg, struct rollout_row *row,
	struct controller_result *done, struct ota_why *why)
{
	bool starts = row->state == ROLLOUT_SCHEDULED;
	enum ota_err err;

	if (trouble_waits(controller, row)) {
		done->active = true;
		return OTA_OK;
	}
	err = run_in_transaction(controller, pg, row, done, why);
	if (!err && starts && row->state == ROLLOUT_RUNNING) {
		/*
		 * It has started, and ended others; its first stage opens in a transaction of its own: that takes the lock on who is
		 * listening, which comes before the counters of the others' stages.
		 */
		err = run_in_transaction(controller, pg, row, done, why);
	}
	return err;
}

static enum ota_err take_lead(struct controller *controller, struct pg *pg, struct ota_why *why)
{
	PGresult *result = NULL;
	enum ota_err err;

	if (controller->leads) {
		return OTA_OK;
	}
	err = pg_exec(
		pg, "SELECT pg_try_advisory_lock(hashtext('ota.controller'))", 0, NULL, &result, why);
	if (!err) {
		controller->leads = pg_bool(result, 0, 0);
		PQclear(result);
		if (controller->leads) {
			logring_printf(controller->log, LOG_LEVEL_INFO, "this broker controls the rollouts");
		}
	}
	return err;
}

enum ota_err controller_analyze(struct controller *controller, struct pg *pg, struct ota_why *why)
{
	enum ota_err err = OTA_OK;

	if (controller->unanalyzed) {
		controller->unanalyzed = false; /* once: autovacuum does it too, later */
		err = controller_call(pg, "SELECT ota.controller_analyze()", 0, NULL, NULL, why);
	}
	return err;
}

enum ota_err controller_pass(struct controller *controller, struct pg *pg, struct fold *fold,
	int64_t written_ms, struct controller_result *done, struct ota_why *why)
{
	struct fold_result expired;
	PGresult *rows = NULL;
	enum ota_err err = take_lead(controller, pg, why);

	memset(done, 0, sizeof(*done));
	done->leads = controller->leads;
	if (err || !controller->leads) {
		return err;
	}
	/* First of all: who has not been told is not silent. */
	err = controller_call(pg, "SELECT ota.controller_hand_back()", 0, NULL, NULL, why);
	if (!err) {
		err = fold_expired(fold, pg, written_ms, EXPIRED_LIMIT, &expired, why);
	}
	if (!err) {
		err = pg_exec(pg, "SELECT * FROM ota.controller_read()", 0, NULL, &rows, why);
	}
	for (int n = 0; !err && n < PQntuples(rows); n++) {
		struct rollout_row row;

		if (controller_row_read(rows, n, &row)) {
			err = run_row(controller, pg, &row, done, why);
		}
	}
	PQclear(rows);
	return err ? err : controller_audit(controller, pg, why);
}
