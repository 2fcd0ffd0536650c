#include "ota/rules/update_state.h"

#include <string.h>

static int64_t add_time(int64_t at_ms, int64_t span_ms)
{
	if (span_ms <= 0) {
		return at_ms;
	}
	return at_ms > INT64_MAX - span_ms ? INT64_MAX : at_ms + span_ms;
}

static int32_t add_one(int32_t count)
{
	return count < INT32_MAX ? count + 1 : count;
}

/* Is this a session that the device had not when it was told or last made progress? */
static bool is_new_session(const struct update_facts *facts, const struct update_input *input)
{
	return input->session != facts->told_session;
}

static bool is_boot_window_over(const struct update_facts *facts, int64_t at_ms)
{
	return at_ms > add_time(facts->boots_since_ms, UPDATE_BOOT_LOOP_WINDOW_MS);
}

static bool has_begun_to_apply(enum update_state state)
{
	return state == UPDATE_APPLYING || state == UPDATE_REBOOTING;
}

/* Does this session start count as a boot?  While it downloads and verifies, it is only bad radio. */
static bool is_boot(const struct update_facts *facts, const struct update_input *input)
{
	bool suspicious = facts->state == UPDATE_NOTIFIED || has_begun_to_apply(facts->state);

	return input->kind == UPDATE_IN_SESSION_STARTED && suspicious && is_new_session(facts, input);
}

/* What facts->boots becomes with a boot. */
static int32_t count_boots(const struct update_facts *facts, int64_t at_ms)
{
	return is_boot_window_over(facts, at_ms) ? 1 : add_one(facts->boots);
}

static enum update_event classify_downloading(
	const struct update_facts *facts, const struct update_input *input)
{
	bool later = facts->state == UPDATE_VERIFYING || has_begun_to_apply(facts->state);

	return later && is_new_session(facts, input) ? UPDATE_EV_STARTED_OVER : UPDATE_EV_DOWNLOADING;
}

/* IDLE and SUCCESS: which version runs says more than the word does. */
static enum update_event classify_running(const struct update_facts *facts,
	const struct update_limits *limits, const struct update_input *input, bool retries_left)
{
	bool reboot_seen = !limits->reboot || is_new_session(facts, input);

	if (!input->runs_target) {
		return has_begun_to_apply(facts->state) && retries_left ? UPDATE_EV_ROLLED_BACK_RETRY
																: UPDATE_EV_OLD_VERSION;
	}
	/* Not told, so there is nothing that could succeed: a plain report. */
	if (facts->state == UPDATE_PENDING) {
		return UPDATE_EV_TARGET_IDLE;
	}
	if (input->status == REPORT_SUCCESS) {
		/*
		 * Told again in this session, because it came back and had said nothing: it may have been
		 * back from its reboot.  One that speaks only at the end has no other to show.
		 */
		bool may_have_rebooted = facts->state == UPDATE_NOTIFIED && facts->boots > 0;

		if (!reboot_seen && !may_have_rebooted) {
			return UPDATE_EV_SUCCESS_EARLY;
		}
		return limits->step ? UPDATE_EV_STEP_DONE : UPDATE_EV_SUCCESS;
	}
	return reboot_seen ? UPDATE_EV_TARGET_IDLE : UPDATE_EV_TARGET_EARLY;
}

static enum update_event classify_report(const struct update_facts *facts,
	const struct update_limits *limits, const struct update_input *input, bool retries_left)
{
	switch (input->status) {
	case REPORT_IDLE:
	case REPORT_SUCCESS:
		return classify_running(facts, limits, input, retries_left);
	case REPORT_DOWNLOADING:
		return classify_downloading(facts, input);
	case REPORT_VERIFYING:
		return UPDATE_EV_VERIFYING;
	case REPORT_APPLYING:
		return UPDATE_EV_APPLYING;
	case REPORT_REBOOTING:
		return UPDATE_EV_REBOOTING;
	case REPORT_FAILED:
		return retries_left ? UPDATE_EV_FAILED_RETRY : UPDATE_EV_FAILED;
	case REPORT_ROLLED_BACK:
		return retries_left ? UPDATE_EV_ROLLED_BACK_RETRY : UPDATE_EV_ROLLED_BACK;
	case REPORT_REJECTED:
		return UPDATE_EV_REJECTED;
	case REPORT_DEFERRED:
		return UPDATE_EV_DEFERRED;
	case REPORT_STATUS_COUNT:
		break;
	}
	return UPDATE_EVENT_COUNT;
}

static enum update_event classify_session_start(
	const struct update_facts *facts, const struct update_input *input)
{
	if (is_boot(facts, input) && count_boots(facts, input->at_ms) >= UPDATE_BOOT_LOOP_SESSIONS) {
		return UPDATE_EV_BOOT_LOOP;
	}
	return UPDATE_EV_RETURNED;
}

static enum update_event classify(const struct update_facts *facts,
	const struct update_limits *limits, const struct update_input *input)
{
	bool retries_left = facts->retries_used < limits->retries;

	switch (input->kind) {
	case UPDATE_IN_REPORT:
		return classify_report(facts, limits, input, retries_left);
	case UPDATE_IN_SESSION_STARTED:
		return classify_session_start(facts, input);
	case UPDATE_IN_SESSION_ENDED:
		return UPDATE_EV_SESSION_ENDED;
	case UPDATE_IN_TOLD:
		return UPDATE_EV_TOLD;
	case UPDATE_IN_UNTOLD:
		return UPDATE_EV_UNTOLD;
	case UPDATE_IN_DEADLINE:
		return retries_left ? UPDATE_EV_DEADLINE_RETRY : UPDATE_EV_DEADLINE;
	case UPDATE_IN_CANCEL:
		return UPDATE_EV_CANCEL;
	case UPDATE_IN_RETRY:
		return UPDATE_EV_RETRY;
	}
	return UPDATE_EVENT_COUNT;
}

static const char *refusal(const struct update_facts *facts, enum update_event event)
{
	if (event == UPDATE_EVENT_COUNT || (size_t)facts->state >= UPDATE_STATE_COUNT) {
		return "unknown state or input";
	}
	if (event == UPDATE_EV_RETRY) {
		return facts->state == UPDATE_SUCCEEDED ? "has succeeded; there is nothing to retry"
												: "has not finished; there is nothing to retry";
	}
	if (update_state_is_final(facts->state)) {
		return "already finished";
	}
	if (event == UPDATE_EV_CANCEL) {
		return "has started; it runs on and its outcome is recorded";
	}
	if (facts->state == UPDATE_PENDING) {
		return "has not been told";
	}
	return "not possible in this state";
}

static bool is_deadline(enum update_event event)
{
	return event == UPDATE_EV_DEADLINE || event == UPDATE_EV_DEADLINE_RETRY;
}

static bool is_retry(enum update_event event)
{
	return event == UPDATE_EV_FAILED_RETRY || event == UPDATE_EV_ROLLED_BACK_RETRY
		|| event == UPDATE_EV_DEADLINE_RETRY;
}

static bool is_progress(enum update_event event)
{
	return event == UPDATE_EV_DOWNLOADING || event == UPDATE_EV_VERIFYING
		|| event == UPDATE_EV_APPLYING || event == UPDATE_EV_REBOOTING
		|| event == UPDATE_EV_STARTED_OVER;
}

static void set_error(struct update_facts *facts, const char *error)
{
	size_t length = strnlen(error, sizeof(facts->error));

	if (length == sizeof(facts->error)) {
		length--;
		/* Cut in front of a whole UTF-8 character: the database refuses half of one. */
		while (length > 0 && ((unsigned char)error[length] & 0xC0U) == 0x80U) {
			length--;
		}
	}
	memset(facts->error, 0, sizeof(facts->error));
	memcpy(facts->error, error, length);
}

static void note_error(struct update_facts *facts, const struct update_input *input,
	const struct update_transition *row)
{
	bool back = row->to == UPDATE_ROLLED_BACK || row->event == UPDATE_EV_ROLLED_BACK_RETRY;
	bool reasoned = back || row->event == UPDATE_EV_FAILED || row->event == UPDATE_EV_FAILED_RETRY
		|| row->event == UPDATE_EV_REJECTED || row->event == UPDATE_EV_DEFERRED;

	if (row->event == UPDATE_EV_RETRY || row->event == UPDATE_EV_STEP_DONE
		|| (row->event == UPDATE_EV_TOLD && row->from == UPDATE_PENDING)) {
		set_error(facts, "");
	} else if (row->event == UPDATE_EV_BOOT_LOOP) {
		set_error(facts, "BOOT_LOOP");
	} else if (is_deadline(row->event)) {
		if (facts->error[0] == '\0') {
			set_error(facts, row->from == UPDATE_REBOOTING ? "NO_HEALTH_REPORT" : "NO_REPORT");
		}
	} else if (reasoned && input->error && input->error[0] != '\0') {
		set_error(facts, input->error);
	} else if (back) {
		set_error(facts, "ROLLED_BACK");
	}
}

static void move_deadline(struct update_facts *facts, const struct update_limits *limits,
	const struct update_input *input, const struct update_transition *row)
{
	bool anew = row->event == UPDATE_EV_TOLD
		|| (row->event == UPDATE_EV_STARTED_OVER && row->from == UPDATE_REBOOTING);

	if (!update_state_is_in_flight(row->to)) {
		facts->deadline_ms = 0;
	} else if (anew) {
		facts->deadline_ms = add_time(input->at_ms, limits->download_ms);
	} else if (row->to == UPDATE_REBOOTING && row->from != UPDATE_REBOOTING) {
		facts->deadline_ms = add_time(input->at_ms, limits->health_ms);
	}
}

static void move_attempt(struct update_facts *facts, const struct update_input *input,
	const struct update_transition *row)
{
	int64_t defer_ms = input->retry_after_ms;

	if (row->event == UPDATE_EV_DEFERRED) {
		defer_ms = defer_ms <= 0 ? UPDATE_DEFER_DEFAULT_MS : defer_ms;
		defer_ms = defer_ms > UPDATE_DEFER_MAX_MS ? UPDATE_DEFER_MAX_MS : defer_ms;
		facts->attempt = add_one(facts->attempt);
		facts->not_before_ms = add_time(input->at_ms, defer_ms);
	} else if (is_retry(row->event)) {
		facts->attempt = add_one(facts->attempt);
		facts->retries_used = add_one(facts->retries_used);
	} else if (row->event == UPDATE_EV_STEP_DONE) {
		facts->attempt = add_one(facts->attempt);
	} else if (row->event == UPDATE_EV_RETRY) {
		facts->attempt = add_one(facts->attempt);
		facts->retries_used = 0;
		facts->not_before_ms = 0;
	} else if (row->event == UPDATE_EV_TOLD && row->from == UPDATE_PENDING) {
		facts->not_before_ms = 0;
	}
}

static void move_sessions(struct update_facts *facts, const struct update_input *input,
	const struct update_transition *row)
{
	if (row->event == UPDATE_EV_TOLD || is_progress(row->event)) {
		facts->told_session = input->session;
	}
	if (row->event == UPDATE_EV_TOLD && row->from == UPDATE_PENDING) {
		facts->boots = 0;
		facts->boots_since_ms = input->at_ms;
	} else if (is_boot(facts, input)) {
		bool over = is_boot_window_over(facts, input->at_ms);

		facts->boots = count_boots(facts, input->at_ms);
		/* A new window starts with the session that fell out of the old one. */
		facts->boots_since_ms = over ? input->at_ms : facts->boots_since_ms;
	}
}

struct update_step update_advance(struct update_facts *facts, const struct update_limits *limits,
	const struct update_input *input)
{
	enum update_event event = classify(facts, limits, input);
	const struct update_transition *row = update_next(facts->state, event);
	struct update_step step = {
		.event = event,
		.from = facts->state,
		.to = facts->state,
	};

	if (!row) {
		step.why = refusal(facts, event);
		return step;
	}
	if (is_deadline(event) && (facts->deadline_ms <= 0 || input->at_ms < facts->deadline_ms)) {
		step.why = "its deadline has not passed";
		return step;
	}
	step.accepted = true;
	step.attempt_failed = update_state_is_failure(row->to) || is_retry(event);
	step.to = row->to;
	step.why = row->why;
	/* The sessions first: counting boots asks for the state that was. */
	move_sessions(facts, input, row);
	move_attempt(facts, input, row);
	note_error(facts, input, row);
	move_deadline(facts, limits, input, row);
	facts->state = row->to;
	return step;
}
