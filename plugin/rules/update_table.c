#include <string.h>

#include "ota/rules/update_state.h"

/* Every step that there is.  update_advance() names the event and takes the row from here. */
static const struct update_transition table[] = {
	/* The notice. */
	{ UPDATE_PENDING, UPDATE_EV_TOLD, UPDATE_NOTIFIED, "told" },
	{ UPDATE_NOTIFIED, UPDATE_EV_TOLD, UPDATE_NOTIFIED,
		"told again in the same attempt: it came back without having started" },
	{ UPDATE_NOTIFIED, UPDATE_EV_UNTOLD, UPDATE_PENDING, "the notice could not leave the broker" },
	/* Progress only goes forward; states may be skipped. */
	{ UPDATE_NOTIFIED, UPDATE_EV_DOWNLOADING, UPDATE_DOWNLOADING, "says that it downloads" },
	{ UPDATE_NOTIFIED, UPDATE_EV_VERIFYING, UPDATE_VERIFYING, "says that it verifies" },
	{ UPDATE_NOTIFIED, UPDATE_EV_APPLYING, UPDATE_APPLYING, "says that it applies" },
	{ UPDATE_NOTIFIED, UPDATE_EV_REBOOTING, UPDATE_REBOOTING, "says that it reboots" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_DOWNLOADING, UPDATE_DOWNLOADING, "still downloads" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_VERIFYING, UPDATE_VERIFYING, "says that it verifies" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_APPLYING, UPDATE_APPLYING, "says that it applies" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_REBOOTING, UPDATE_REBOOTING, "says that it reboots" },
	{ UPDATE_VERIFYING, UPDATE_EV_VERIFYING, UPDATE_VERIFYING, "still verifies" },
	{ UPDATE_VERIFYING, UPDATE_EV_APPLYING, UPDATE_APPLYING, "says that it applies" },
	{ UPDATE_VERIFYING, UPDATE_EV_REBOOTING, UPDATE_REBOOTING, "says that it reboots" },
	{ UPDATE_APPLYING, UPDATE_EV_APPLYING, UPDATE_APPLYING, "still applies" },
	{ UPDATE_APPLYING, UPDATE_EV_REBOOTING, UPDATE_REBOOTING, "says that it reboots" },
	{ UPDATE_REBOOTING, UPDATE_EV_REBOOTING, UPDATE_REBOOTING, "still reboots" },
	/* ... except that a device which lost power may start over in a new session. */
	{ UPDATE_VERIFYING, UPDATE_EV_STARTED_OVER, UPDATE_DOWNLOADING,
		"started over with the download in a new session" },
	{ UPDATE_APPLYING, UPDATE_EV_STARTED_OVER, UPDATE_DOWNLOADING,
		"started over with the download in a new session" },
	{ UPDATE_REBOOTING, UPDATE_EV_STARTED_OVER, UPDATE_DOWNLOADING,
		"started over with the download in a new session" },
	/* Success is seen, not believed. */
	{ UPDATE_NOTIFIED, UPDATE_EV_SUCCESS, UPDATE_SUCCEEDED,
		"runs the target version and says that it is healthy" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_SUCCESS, UPDATE_SUCCEEDED,
		"runs the target version and says that it is healthy" },
	{ UPDATE_VERIFYING, UPDATE_EV_SUCCESS, UPDATE_SUCCEEDED,
		"runs the target version and says that it is healthy" },
	{ UPDATE_APPLYING, UPDATE_EV_SUCCESS, UPDATE_SUCCEEDED,
		"runs the target version and says that it is healthy" },
	{ UPDATE_REBOOTING, UPDATE_EV_SUCCESS, UPDATE_SUCCEEDED,
		"runs the target version and says that it is healthy" },
	/* ... and on a stepping stone it is half of the way. */
	{ UPDATE_NOTIFIED, UPDATE_EV_STEP_DONE, UPDATE_PENDING,
		"runs the stepping stone and is healthy; its next step follows" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_STEP_DONE, UPDATE_PENDING,
		"runs the stepping stone and is healthy; its next step follows" },
	{ UPDATE_VERIFYING, UPDATE_EV_STEP_DONE, UPDATE_PENDING,
		"runs the stepping stone and is healthy; its next step follows" },
	{ UPDATE_APPLYING, UPDATE_EV_STEP_DONE, UPDATE_PENDING,
		"runs the stepping stone and is healthy; its next step follows" },
	{ UPDATE_REBOOTING, UPDATE_EV_STEP_DONE, UPDATE_PENDING,
		"runs the stepping stone and is healthy; its next step follows" },
	{ UPDATE_NOTIFIED, UPDATE_EV_SUCCESS_EARLY, UPDATE_REBOOTING,
		"says SUCCESS in the session that was told; its reboot has not been seen" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_SUCCESS_EARLY, UPDATE_REBOOTING,
		"says SUCCESS in the session that was told; its reboot has not been seen" },
	{ UPDATE_VERIFYING, UPDATE_EV_SUCCESS_EARLY, UPDATE_REBOOTING,
		"says SUCCESS in the session that was told; its reboot has not been seen" },
	{ UPDATE_APPLYING, UPDATE_EV_SUCCESS_EARLY, UPDATE_REBOOTING,
		"says SUCCESS in the session that was told; its reboot has not been seen" },
	{ UPDATE_REBOOTING, UPDATE_EV_SUCCESS_EARLY, UPDATE_REBOOTING,
		"says SUCCESS in the session that was told; its reboot has not been seen" },
	{ UPDATE_PENDING, UPDATE_EV_TARGET_IDLE, UPDATE_PENDING,
		"runs the target version without having been told; nothing to count" },
	{ UPDATE_NOTIFIED, UPDATE_EV_TARGET_IDLE, UPDATE_REBOOTING,
		"runs the target version; its health is not proven yet" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_TARGET_IDLE, UPDATE_REBOOTING,
		"runs the target version; its health is not proven yet" },
	{ UPDATE_VERIFYING, UPDATE_EV_TARGET_IDLE, UPDATE_REBOOTING,
		"runs the target version; its health is not proven yet" },
	{ UPDATE_APPLYING, UPDATE_EV_TARGET_IDLE, UPDATE_REBOOTING,
		"runs the target version; its health is not proven yet" },
	{ UPDATE_REBOOTING, UPDATE_EV_TARGET_IDLE, UPDATE_REBOOTING,
		"runs the target version; its health is not proven yet" },
	{ UPDATE_NOTIFIED, UPDATE_EV_TARGET_EARLY, UPDATE_NOTIFIED,
		"names the target version in the session that was told; its reboot has not been seen" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_TARGET_EARLY, UPDATE_DOWNLOADING,
		"names the target version in the session that was told; its reboot has not been seen" },
	{ UPDATE_VERIFYING, UPDATE_EV_TARGET_EARLY, UPDATE_VERIFYING,
		"names the target version in the session that was told; its reboot has not been seen" },
	{ UPDATE_APPLYING, UPDATE_EV_TARGET_EARLY, UPDATE_APPLYING,
		"names the target version in the session that was told; its reboot has not been seen" },
	{ UPDATE_REBOOTING, UPDATE_EV_TARGET_EARLY, UPDATE_REBOOTING,
		"names the target version in the session that was told; its reboot has not been seen" },
	/* The old version. */
	{ UPDATE_PENDING, UPDATE_EV_OLD_VERSION, UPDATE_PENDING, "still runs the old version" },
	{ UPDATE_NOTIFIED, UPDATE_EV_OLD_VERSION, UPDATE_NOTIFIED, "still runs the old version" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_OLD_VERSION, UPDATE_DOWNLOADING, "still runs the old version" },
	{ UPDATE_VERIFYING, UPDATE_EV_OLD_VERSION, UPDATE_VERIFYING, "still runs the old version" },
	{ UPDATE_APPLYING, UPDATE_EV_OLD_VERSION, UPDATE_ROLLED_BACK,
		"runs the old version after it had begun to apply" },
	{ UPDATE_REBOOTING, UPDATE_EV_OLD_VERSION, UPDATE_ROLLED_BACK,
		"runs the old version after it had begun to apply" },
	/* Failure: final, or another attempt while the plan's retries last. */
	{ UPDATE_NOTIFIED, UPDATE_EV_FAILED, UPDATE_FAILED, "says that the update failed" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_FAILED, UPDATE_FAILED, "says that the update failed" },
	{ UPDATE_VERIFYING, UPDATE_EV_FAILED, UPDATE_FAILED, "says that the update failed" },
	{ UPDATE_APPLYING, UPDATE_EV_FAILED, UPDATE_FAILED, "says that the update failed" },
	{ UPDATE_REBOOTING, UPDATE_EV_FAILED, UPDATE_FAILED, "says that the update failed" },
	{ UPDATE_NOTIFIED, UPDATE_EV_FAILED_RETRY, UPDATE_PENDING, "failed; another try follows" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_FAILED_RETRY, UPDATE_PENDING, "failed; another try follows" },
	{ UPDATE_VERIFYING, UPDATE_EV_FAILED_RETRY, UPDATE_PENDING, "failed; another try follows" },
	{ UPDATE_APPLYING, UPDATE_EV_FAILED_RETRY, UPDATE_PENDING, "failed; another try follows" },
	{ UPDATE_REBOOTING, UPDATE_EV_FAILED_RETRY, UPDATE_PENDING, "failed; another try follows" },
	{ UPDATE_NOTIFIED, UPDATE_EV_ROLLED_BACK, UPDATE_ROLLED_BACK,
		"says that it went back to the old version" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_ROLLED_BACK, UPDATE_ROLLED_BACK,
		"says that it went back to the old version" },
	{ UPDATE_VERIFYING, UPDATE_EV_ROLLED_BACK, UPDATE_ROLLED_BACK,
		"says that it went back to the old version" },
	{ UPDATE_APPLYING, UPDATE_EV_ROLLED_BACK, UPDATE_ROLLED_BACK,
		"says that it went back to the old version" },
	{ UPDATE_REBOOTING, UPDATE_EV_ROLLED_BACK, UPDATE_ROLLED_BACK,
		"says that it went back to the old version" },
	{ UPDATE_NOTIFIED, UPDATE_EV_ROLLED_BACK_RETRY, UPDATE_PENDING,
		"went back to the old version; another try follows" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_ROLLED_BACK_RETRY, UPDATE_PENDING,
		"went back to the old version; another try follows" },
	{ UPDATE_VERIFYING, UPDATE_EV_ROLLED_BACK_RETRY, UPDATE_PENDING,
		"went back to the old version; another try follows" },
	{ UPDATE_APPLYING, UPDATE_EV_ROLLED_BACK_RETRY, UPDATE_PENDING,
		"went back to the old version; another try follows" },
	{ UPDATE_REBOOTING, UPDATE_EV_ROLLED_BACK_RETRY, UPDATE_PENDING,
		"went back to the old version; another try follows" },
	{ UPDATE_NOTIFIED, UPDATE_EV_DEADLINE, UPDATE_TIMED_OUT, "no word before the deadline" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_DEADLINE, UPDATE_TIMED_OUT, "no word before the deadline" },
	{ UPDATE_VERIFYING, UPDATE_EV_DEADLINE, UPDATE_TIMED_OUT, "no word before the deadline" },
	{ UPDATE_APPLYING, UPDATE_EV_DEADLINE, UPDATE_TIMED_OUT, "no word before the deadline" },
	{ UPDATE_REBOOTING, UPDATE_EV_DEADLINE, UPDATE_TIMED_OUT, "no word before the deadline" },
	{ UPDATE_NOTIFIED, UPDATE_EV_DEADLINE_RETRY, UPDATE_PENDING,
		"no word before the deadline; another try follows" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_DEADLINE_RETRY, UPDATE_PENDING,
		"no word before the deadline; another try follows" },
	{ UPDATE_VERIFYING, UPDATE_EV_DEADLINE_RETRY, UPDATE_PENDING,
		"no word before the deadline; another try follows" },
	{ UPDATE_APPLYING, UPDATE_EV_DEADLINE_RETRY, UPDATE_PENDING,
		"no word before the deadline; another try follows" },
	{ UPDATE_REBOOTING, UPDATE_EV_DEADLINE_RETRY, UPDATE_PENDING,
		"no word before the deadline; another try follows" },
	/* No and not now. */
	{ UPDATE_NOTIFIED, UPDATE_EV_REJECTED, UPDATE_REJECTED, "declines this release" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_REJECTED, UPDATE_REJECTED, "declines this release" },
	{ UPDATE_VERIFYING, UPDATE_EV_REJECTED, UPDATE_REJECTED, "declines this release" },
	{ UPDATE_NOTIFIED, UPDATE_EV_DEFERRED, UPDATE_PENDING, "busy; asked again later" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_DEFERRED, UPDATE_PENDING, "busy; asked again later" },
	{ UPDATE_VERIFYING, UPDATE_EV_DEFERRED, UPDATE_PENDING, "busy; asked again later" },
	/* Sessions. */
	{ UPDATE_PENDING, UPDATE_EV_SESSION_ENDED, UPDATE_PENDING, "its session ended" },
	{ UPDATE_NOTIFIED, UPDATE_EV_SESSION_ENDED, UPDATE_NOTIFIED, "its session ended" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_SESSION_ENDED, UPDATE_DOWNLOADING, "its session ended" },
	{ UPDATE_VERIFYING, UPDATE_EV_SESSION_ENDED, UPDATE_VERIFYING, "its session ended" },
	{ UPDATE_APPLYING, UPDATE_EV_SESSION_ENDED, UPDATE_REBOOTING,
		"its session ended while it applied: it reboots" },
	{ UPDATE_REBOOTING, UPDATE_EV_SESSION_ENDED, UPDATE_REBOOTING, "its session ended" },
	{ UPDATE_PENDING, UPDATE_EV_RETURNED, UPDATE_PENDING, "began a new session" },
	{ UPDATE_NOTIFIED, UPDATE_EV_RETURNED, UPDATE_NOTIFIED, "began a new session" },
	{ UPDATE_DOWNLOADING, UPDATE_EV_RETURNED, UPDATE_DOWNLOADING, "began a new session" },
	{ UPDATE_VERIFYING, UPDATE_EV_RETURNED, UPDATE_VERIFYING, "began a new session" },
	{ UPDATE_APPLYING, UPDATE_EV_RETURNED, UPDATE_APPLYING, "began a new session" },
	{ UPDATE_REBOOTING, UPDATE_EV_RETURNED, UPDATE_REBOOTING, "began a new session" },
	{ UPDATE_NOTIFIED, UPDATE_EV_BOOT_LOOP, UPDATE_FAILED,
		"too many new sessions in a short time after the notice" },
	{ UPDATE_APPLYING, UPDATE_EV_BOOT_LOOP, UPDATE_FAILED,
		"too many new sessions in a short time after the notice" },
	{ UPDATE_REBOOTING, UPDATE_EV_BOOT_LOOP, UPDATE_FAILED,
		"too many new sessions in a short time after the notice" },
	/* The operator. */
	{ UPDATE_PENDING, UPDATE_EV_CANCEL, UPDATE_CANCELLED, "cancelled before it had started" },
	{ UPDATE_NOTIFIED, UPDATE_EV_CANCEL, UPDATE_CANCELLED, "cancelled before it had started" },
	{ UPDATE_FAILED, UPDATE_EV_RETRY, UPDATE_PENDING, "an operator asks for another try" },
	{ UPDATE_ROLLED_BACK, UPDATE_EV_RETRY, UPDATE_PENDING, "an operator asks for another try" },
	{ UPDATE_TIMED_OUT, UPDATE_EV_RETRY, UPDATE_PENDING, "an operator asks for another try" },
	{ UPDATE_REJECTED, UPDATE_EV_RETRY, UPDATE_PENDING, "an operator asks for another try" },
	{ UPDATE_CANCELLED, UPDATE_EV_RETRY, UPDATE_PENDING, "an operator asks for another try" },
};

static const char *const state_names[UPDATE_STATE_COUNT] = {
	[UPDATE_PENDING] = "pending",
	[UPDATE_NOTIFIED] = "notified",
	[UPDATE_DOWNLOADING] = "downloading",
	[UPDATE_VERIFYING] = "verifying",
	[UPDATE_APPLYING] = "applying",
	[UPDATE_REBOOTING] = "rebooting",
	[UPDATE_SUCCEEDED] = "succeeded",
	[UPDATE_FAILED] = "failed",
	[UPDATE_ROLLED_BACK] = "rolled_back",
	[UPDATE_TIMED_OUT] = "timed_out",
	[UPDATE_REJECTED] = "rejected",
	[UPDATE_CANCELLED] = "cancelled",
};

static const char *const event_names[UPDATE_EVENT_COUNT] = {
	[UPDATE_EV_TOLD] = "told",
	[UPDATE_EV_UNTOLD] = "untold",
	[UPDATE_EV_DOWNLOADING] = "downloading",
	[UPDATE_EV_VERIFYING] = "verifying",
	[UPDATE_EV_APPLYING] = "applying",
	[UPDATE_EV_REBOOTING] = "rebooting",
	[UPDATE_EV_SUCCESS] = "success",
	[UPDATE_EV_SUCCESS_EARLY] = "success_early",
	[UPDATE_EV_TARGET_IDLE] = "target_idle",
	[UPDATE_EV_OLD_VERSION] = "old_version",
	[UPDATE_EV_FAILED] = "failed",
	[UPDATE_EV_ROLLED_BACK] = "rolled_back",
	[UPDATE_EV_REJECTED] = "rejected",
	[UPDATE_EV_DEFERRED] = "deferred",
	[UPDATE_EV_SESSION_ENDED] = "session_ended",
	[UPDATE_EV_RETURNED] = "returned",
	[UPDATE_EV_BOOT_LOOP] = "boot_loop",
	[UPDATE_EV_DEADLINE] = "deadline",
	[UPDATE_EV_CANCEL] = "cancel",
	[UPDATE_EV_RETRY] = "retry",
	[UPDATE_EV_STARTED_OVER] = "started_over",
	[UPDATE_EV_TARGET_EARLY] = "target_early",
	[UPDATE_EV_FAILED_RETRY] = "failed_retry",
	[UPDATE_EV_ROLLED_BACK_RETRY] = "rolled_back_retry",
	[UPDATE_EV_DEADLINE_RETRY] = "deadline_retry",
	[UPDATE_EV_STEP_DONE] = "step_done",
};

const struct update_transition *update_transitions(size_t *count)
{
	*count = sizeof(table) / sizeof(table[0]);
	return table;
}

const struct update_transition *update_next(enum update_state from, enum update_event event)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].from == from && table[i].event == event) {
			return &table[i];
		}
	}
	return NULL;
}

bool update_state_is_in_flight(enum update_state state)
{
	return state == UPDATE_NOTIFIED || state == UPDATE_DOWNLOADING || state == UPDATE_VERIFYING
		|| state == UPDATE_APPLYING || state == UPDATE_REBOOTING;
}

bool update_state_is_failure(enum update_state state)
{
	return state == UPDATE_FAILED || state == UPDATE_ROLLED_BACK || state == UPDATE_TIMED_OUT;
}

bool update_state_is_final(enum update_state state)
{
	return state == UPDATE_SUCCEEDED || state == UPDATE_REJECTED || state == UPDATE_CANCELLED
		|| update_state_is_failure(state);
}

const char *update_state_name(enum update_state state)
{
	return (size_t)state < UPDATE_STATE_COUNT ? state_names[state] : "unknown";
}

bool update_state_parse(const char *name, enum update_state *state)
{
	for (size_t i = 0; name && i < UPDATE_STATE_COUNT; i++) {
		if (strcmp(name, state_names[i]) == 0) {
			*state = (enum update_state)i;
			return true;
		}
	}
	return false;
}

const char *update_event_name(enum update_event event)
{
	return (size_t)event < UPDATE_EVENT_COUNT ? event_names[event] : "unknown";
}
