#include "ota/store/fold.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "ota/base/clock.h"

#include "fold_internal.h"

enum {
	/* A device that came back gets this long to show that it has started, before it is told again. */
	RETELL_MS = 2000,
	/* The same when it was the broker that went away. */
	RETELL_AFTER_RESTART_MS = 15000,
	/* After a notice that could not leave for a passing reason. */
	UNDELIVERED_PAUSE_MS = 5000,
	NO_URL_PAUSE_MS = 30000, /* somebody has to repair something */
};

struct fold *fold_new(const char *broker, enum enroll enroll, int64_t session_floor)
{
	struct fold *fold = calloc(1, sizeof(*fold));

	if (!fold) {
		return NULL;
	}
	fold->broker = strdup(broker);
	fold->hasher = audit_hasher_new();
	if (!fold->broker || !fold->hasher) {
		fold_free(fold);
		return NULL;
	}
	fold->enroll = enroll;
	fold->session_floor = session_floor;
	return fold;
}

void fold_free(struct fold *fold)
{
	if (!fold) {
		return;
	}
	HASH_CLEAR(hh, fold->devices);
	PQclear(fold->facts);
	PQclear(fold->updates);
	cJSON_Delete(fold->said);
	free(fold->pool);
	for (size_t i = 0; i < F_COLUMNS; i++) {
		pg_binary_free(&fold->columns[i]);
	}
	audit_hasher_free(fold->hasher);
	free(fold->broker);
	free(fold);
}

/* Audit with a detail made of up to four text members; NULL or "" values are left out. */
void fold_audit(struct fold *fold, const struct event *event, int64_t rollout, const char *kind,
	const char *const members[][2])
{
	cJSON *object = cJSON_CreateObject();
	char *text = NULL;

	for (size_t i = 0; object && members[i][0]; i++) {
		if (members[i][1] && members[i][1][0]) {
			(void)cJSON_AddStringToObject(object, members[i][0], members[i][1]);
		}
	}
	text = object ? cJSON_PrintUnformatted(object) : NULL;
	/* Without memory the row is still written; only its detail is missing. */
	fold_rows_audit(fold, event->at_ms, event->device[0] ? event->device : NULL, rollout, kind,
		text ? text : "{}");
	cJSON_free(text);
	cJSON_Delete(object);
}

/* Log what a step did: a change of state, or that it was impossible. */
static void audit_step(struct fold *fold, struct fold_device *device,
	const struct update_step *step, int64_t at_ms, const char *status, struct fold_result *done)
{
	const struct event event = { .at_ms = at_ms, .device = device->id };

	if (!step->accepted) {
		done->impossible++;
		fold_audit(fold, &event, device->rollout, "impossible",
			(const char *const[][2]){ { "state", update_state_name(step->from) },
				{ "status", status }, { "event", update_event_name(step->event) },
				{ "why", step->why }, { NULL, NULL } });
		return;
	}
	if (step->from == step->to && !step->attempt_failed) {
		return;
	}
	done->steps++;
	fold_audit(fold, &event, device->rollout, "update",
		(const char *const[][2]){ { "from", update_state_name(step->from) },
			{ "to", update_state_name(step->to) }, { "why", step->why },
			{ "error", device->facts.error },
			{ "step", device->limits.step ? device->target : NULL }, { NULL, NULL } });
}

/* Give the device's open update one input; returns whether it was accepted. */
bool fold_advance(struct fold *fold, struct fold_device *device, const struct update_input *input,
	const char *status, struct fold_result *done)
{
	struct update_step step;

	if (!device->rollout || update_state_is_final(device->facts.state)) {
		return false;
	}
	step = update_advance(&device->facts, &device->limits, input);
	/* A device that waits for its turn says many things that are no steps of an update. */
	if (!step.accepted && device->facts.state == UPDATE_PENDING
		&& input->kind != UPDATE_IN_REPORT) {
		return false;
	}
	audit_step(fold, device, &step, input->at_ms, status, done);
	if (step.accepted) {
		device->update_touched = true;
		device->step_ms = input->at_ms;
		device->failed += step.attempt_failed ? 1 : 0;
		if (device->facts.state != UPDATE_NOTIFIED) {
			device->retell_ms = 0;
		}
	}
	return step.accepted;
}

/* A session of this device is there: a new one is a fact of its own. */
static void note_session(struct fold *fold, struct fold_device *device, const struct event *event,
	struct fold_result *done)
{
	if (event->session == 0 || event->session < device->session) {
		return;
	}
	if (event->session >= fold->session_floor && device->connected != 1) {
		device->connected = 1;
	}
	if (event->session > device->session) {
		const struct update_input input = {
			.kind = UPDATE_IN_SESSION_STARTED, .at_ms = event->at_ms, .session = event->session
		};

		device->session = event->session;
		device->listening = 0;
		(void)fold_advance(fold, device, &input, NULL, done);
	}
}

/* Said in a session that was over when the device had one at another broker, whose events were quicker: it tells nothing of now. */
static bool is_late(const struct fold_device *device, const struct event *event)
{
	return event->session > 0 && event->session < device->session;
}

/* Told in an earlier session and back without a word of having started: tell it again, after a moment. */
static void consider_retell(
	const struct fold *fold, struct fold_device *device, const struct event *event)
{
	if (!is_late(device, event) && device->rollout && device->facts.state == UPDATE_NOTIFIED
		&& device->retell_ms == 0 && event->session != device->facts.told_session) {
		bool restarted = device->facts.told_session < fold->session_floor;

		device->retell_ms = event->at_ms + (restarted ? RETELL_AFTER_RESTART_MS : RETELL_MS);
		device->update_touched = true;
		device->step_ms = event->at_ms;
	}
}

static void fold_connected(struct fold *fold, struct fold_device *device, const struct event *event,
	struct fold_result *done)
{
	note_session(fold, device, event, done);
	fold_audit(fold, event, 0, "connected",
		(const char *const[][2]){ { "client", event->client }, { NULL, NULL } });
}

static void fold_disconnected(struct fold *fold, struct fold_device *device,
	const struct event *event, struct fold_result *done)
{
	const struct update_input input = {
		.kind = UPDATE_IN_SESSION_ENDED, .at_ms = event->at_ms, .session = event->session
	};

	if (event->session >= device->session) {
		device->connected = 0;
		device->listening = 0;
		(void)fold_advance(fold, device, &input, NULL, done);
	}
	fold_audit(fold, event, 0, "disconnected",
		(const char *const[][2]){
			{ "client", event->client }, { "reason", event->text }, { NULL, NULL } });
}

static void fold_listening(struct fold *fold, struct fold_device *device, const struct event *event,
	struct fold_result *done)
{
	note_session(fold, device, event, done);
	if (event->session == device->session && event->session >= fold->session_floor) {
		device->listening = 1;
	}
	if (event->topic[0] && !is_late(device, event)) {
		device->topic = event->topic;
	}
	/* A device that was put into the default fleet for want of better says now where it belongs. */
	if (event->fleet[0]
		&& (device->is_new
			|| (device->old_fleet_from && strcmp(device->old_fleet_from, "default") == 0))) {
		device->fleet = event->fleet;
		device->fleet_from = "topic";
	}
	consider_retell(fold, device, event);
	fold_audit(fold, event, 0, "listening",
		(const char *const[][2]){
			{ "client", event->client }, { "topic", event->topic }, { NULL, NULL } });
}

/* Does the report speak of an attempt that is over?  What runs now is true whatever it says of attempts. */
static bool is_of_earlier_attempt(const struct fold_device *device, const struct event *event)
{
	return event->attempt > 0 && event->attempt < device->facts.attempt
		&& event->status != REPORT_IDLE && event->status != REPORT_SUCCESS;
}

void fold_report(struct fold *fold, struct fold_device *device, const struct event *event,
	struct fold_result *done)
{
	const char *version = event->version[0] ? event->version : device->version;
	struct update_input input = {
		.kind = UPDATE_IN_REPORT,
		.at_ms = event->at_ms,
		.session = event->session,
		.status = event->status,
		.retry_after_ms = event->retry_after_ms,
		.error = event->error,
	};
	bool in_flight;
	bool late = is_late(device, event);

	note_session(fold, device, event, done);
	if (!version) {
		version = device->old_version;
	}
	if (event->version[0] && !late) {
		device->version = event->version;
	}
	if (event->hardware[0] && !late) {
		device->hardware = event->hardware;
	}
	in_flight = device->rollout && update_state_is_in_flight(device->facts.state);
	fold_rows_audit(fold, event->at_ms, device->id, in_flight ? device->rollout : 0, "status",
		event->json[0] ? event->json : "{}");
	/* How far an update had come is true all the same; that nothing was going on says nothing. */
	if (!device->rollout || (late && event->status == REPORT_IDLE)) {
		return;
	}
	if (is_of_earlier_attempt(device, event)) {
		done->impossible++;
		fold_audit(fold, event, device->rollout, "impossible",
			(const char *const[][2]){ { "state", update_state_name(device->facts.state) },
				{ "status", report_status_name(event->status) },
				{ "why", "speaks of an earlier attempt" }, { NULL, NULL } });
		return;
	}
	input.runs_target = version && device->target && strcmp(version, device->target) == 0;
	/* It may have come to the end of the way by itself. */
	if (device->limits.step && version && device->final && strcmp(version, device->final) == 0) {
		device->limits.step = false;
		input.runs_target = true;
	}
	(void)fold_advance(fold, device, &input, report_status_name(event->status), done);
	if (event->status == REPORT_IDLE || event->status == REPORT_SUCCESS) {
		consider_retell(fold, device, event);
	}
}

static void fold_undelivered(struct fold *fold, struct fold_device *device,
	const struct event *event, struct fold_result *done)
{
	bool never = event->status == REPORT_REJECTED;
	const struct update_input input = { .kind = never ? UPDATE_IN_CANCEL : UPDATE_IN_UNTOLD,
		.at_ms = event->at_ms };

	fold_audit(fold, event, event->rollout, "undelivered",
		(const char *const[][2]){ { "reason", event->text }, { NULL, NULL } });
	if (device->rollout != event->rollout || device->facts.attempt != event->attempt) {
		return;
	}
	/* It has gone to another broker, which has claimed it since: that one's notice counts. */
	if (device->told_by && strcmp(device->told_by, fold->broker) != 0) {
		return;
	}
	if (!fold_advance(fold, device, &input, NULL, done)) {
		return;
	}
	if (never) {
		(void)snprintf(device->facts.error, sizeof(device->facts.error), "%s", event->error);
	} else if (strcmp(event->error, "not_connected") == 0
		|| strcmp(event->error, "not_listening") == 0) {
		/* It says so itself when it is back; it may have said so already, to another broker. */
		if (device->session == device->facts.told_session) {
			device->listening = 0;
		}
	} else if (strcmp(event->error, EVENT_URL_NOT_MADE) == 0) {
		(void)snprintf(device->facts.error, sizeof(device->facts.error), "%s", event->error);
		device->facts.not_before_ms = event->at_ms + NO_URL_PAUSE_MS;
	} else {
		device->facts.not_before_ms = event->at_ms + UNDELIVERED_PAUSE_MS;
	}
}

/* Events that are about a client, not about a device's row. */
static bool fold_refusal(struct fold *fold, const struct event *event)
{
	if (event->kind != EVENT_DENIED && event->kind != EVENT_MALFORMED) {
		return false;
	}
	fold_audit(fold, event, 0, event->kind == EVENT_DENIED ? "denied" : "malformed",
		(const char *const[][2]){ { "client", event->client }, { "topic", event->topic },
			{ "reason", event->text }, { NULL, NULL } });
	return true;
}

/* May this event be folded into its device's row?  Enrols where that is allowed. */
static bool admit(struct fold *fold, struct fold_device *device, const struct event *event,
	struct fold_result *done)
{
	if (device->known) {
		return true;
	}
	if (fold->enroll == ENROLL_AUTO && !(event->flags & EVENT_FLAG_IF_KNOWN)
		&& event->kind != EVENT_UNDELIVERED && event->kind != EVENT_DISCONNECTED
		&& event->kind != EVENT_TOLD) {
		device->known = true;
		device->is_new = true;
		fold_audit(fold, event, 0, "enrolled",
			(const char *const[][2]){ { "client", event->client }, { NULL, NULL } });
		return true;
	}
	done->unknown++;
	/* Where devices are not enrolled by themselves, an operator wants to see who tries; once a batch will do. */
	if (event->kind == EVENT_REPORT && !device->touched) {
		device->touched = true;
		fold_audit(fold, event, 0, "unknown_device",
			(const char *const[][2]){
				{ "client", event->client }, { "version", event->version }, { NULL, NULL } });
	}
	return false;
}

static void fold_one(struct fold *fold, const struct event *event, struct fold_result *done)
{
	struct fold_device *device;

	done->events++;
	if (fold_refusal(fold, event)) {
		return;
	}
	device = fold_rows_device(fold, event->device);
	if (event->flags & EVENT_FLAG_VIA) {
		fold_via(fold, device, event, done);
		return;
	}
	if (!admit(fold, device, event, done)) {
		return;
	}
	device->touched = true;
	device->seen_ms = event->at_ms;
	switch (event->kind) {
	case EVENT_CONNECTED:
		fold_connected(fold, device, event, done);
		break;
	case EVENT_DISCONNECTED:
		fold_disconnected(fold, device, event, done);
		break;
	case EVENT_LISTENING:
		fold_listening(fold, device, event, done);
		break;
	case EVENT_REPORT:
		fold_report(fold, device, event, done);
		break;
	case EVENT_UNDELIVERED:
		fold_undelivered(fold, device, event, done);
		break;
	case EVENT_TOLD:
		fold_told(fold, device, event);
		break;
	case EVENT_MALFORMED:
	case EVENT_DENIED:
		break;
	}
}

static enum ota_err finish(struct fold *fold, struct pg *pg, uint64_t sequence, struct ota_why *why)
{
	enum ota_err err = fold_rows_write(fold, pg, sequence, why);

	return err ? err : pg_script(pg, "COMMIT", why);
}

static void roll_back(struct pg *pg)
{
	struct ota_why ignored;

	(void)!pg_script(pg, "ROLLBACK", &ignored);
}

enum ota_err fold_events(struct fold *fold, struct pg *pg, const struct event *events, size_t count,
	uint64_t sequence, struct fold_result *done, struct ota_why *why)
{
	enum ota_err err = fold_rows_begin(fold, count);

	memset(done, 0, sizeof(*done));
	if (err) {
		ota_why_set(why, "out of memory");
		return err;
	}
	for (size_t i = 0; i < count; i++) {
		if (events[i].kind != EVENT_DENIED && events[i].kind != EVENT_MALFORMED) {
			(void)fold_rows_device(fold, events[i].device);
		}
	}
	err = pg_script(pg, "BEGIN", why);
	if (!err) {
		err = fold_rows_read(fold, pg, why);
	}
	if (!err) {
		for (size_t i = 0; i < count; i++) {
			fold_one(fold, &events[i], done);
		}
		err = finish(fold, pg, sequence, why);
	}
	if (err) {
		roll_back(pg);
		return err;
	}
	done->news = fold->columns[D_ID].count > 0 || fold->columns[U_ROLLOUT].count > 0;
	return OTA_OK;
}

enum ota_err fold_expired(struct fold *fold, struct pg *pg, int64_t written_ms, int limit,
	struct fold_result *done, struct ota_why *why)
{
	char limit_text[16];
	char behind[24];
	const char *values[2] = { limit_text, behind };
	PGresult *expired = NULL;
	enum ota_err err;
	int count;

	memset(done, 0, sizeof(*done));
	(void)snprintf(limit_text, sizeof(limit_text), "%d", limit);
	(void)snprintf(behind, sizeof(behind), "%" PRId64, clock_mono_ms() - written_ms);
	err = pg_exec(
		pg, "SELECT * FROM ota.controller_expired($1::int, $2::bigint)", 2, values, &expired, why);
	if (err) {
		return err;
	}
	count = PQntuples(expired);
	if (count == 0) {
		PQclear(expired);
		return OTA_OK;
	}
	err = fold_rows_begin(fold, (size_t)count);
	for (int row = 0; !err && row < count; row++) {
		(void)fold_rows_device(fold, pg_text(expired, row, 0));
	}
	if (!err) {
		err = pg_script(pg, "BEGIN", why);
	}
	if (!err) {
		err = fold_rows_read(fold, pg, why);
	}
	for (int row = 0; !err && row < count; row++) {
		struct fold_device *device = fold_rows_device(fold, pg_text(expired, row, 0));
		int64_t now = clock_wall_ms();
		const struct update_input input = { .kind = UPDATE_IN_DEADLINE,
			/* The database's clock said so; ours may be behind. */
			.at_ms = now > device->facts.deadline_ms ? now : device->facts.deadline_ms };

		if (device->rollout == pg_int(expired, row, 1) && device->facts.deadline_ms > 0) {
			(void)fold_advance(fold, device, &input, NULL, done);
		}
	}
	if (!err) {
		err = finish(fold, pg, 0, why);
	}
	if (err) {
		roll_back(pg);
	}
	PQclear(expired);
	return err;
}
