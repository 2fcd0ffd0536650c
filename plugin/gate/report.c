#include "ota/gate/report.h"

#include <stdio.h>
#include <string.h>

#include "ota/gate/again.h"
#include "ota/gate/blocks.h"
#include "ota/gate/emit.h"
#include "ota/gate/presence.h"
#include "ota/gate/push.h"
#include "ota/gate/state.h"
#include "ota/wire/status.h"

enum {
	TICK_PATIENCE_US = 5000000, /* no tick for so long after the first report: none will come */
	FULL_LOG_US = 60000000,     /* one line a minute about a full outbox */
};

int report_unacknowledged(const struct gate *gate, const struct mosquitto *client)
{
	if (mosquitto_client_protocol_version(client) == COMPAT_PROTOCOL_MQTT5) {
		return gate->modern ? (int)COMPAT_ERR_QUOTA_EXCEEDED : MOSQ_ERR_ACL_DENIED;
	}
	return MOSQ_ERR_UNKNOWN;
}

/*
 * The report is not safe, so it must not be acknowledged.  MQTT 5 can say so and the device tries again; older clients get no
 * PUBACK when the connection is closed instead, and send it again after reconnecting.  QoS 0 expects nothing.
 */
static int refuse(struct gate *gate, const struct mosquitto_evt_message *message, enum ota_err err)
{
	int64_t now_us = gate->clock.mono_us();

	gate->counters.reports_refused++;
	if (gate->full_logged_us == 0 || now_us - gate->full_logged_us >= FULL_LOG_US) {
		gate->full_logged_us = now_us == 0 ? 1 : now_us;
		gate_log(MOSQ_LOG_ERR,
			"a status report cannot be kept (%s): it is refused, and so are others until there is room; "
			"%lld so far",
			ota_err_name(err), (long long)gate->counters.reports_refused);
	}
	return message->qos == 0 ? MOSQ_ERR_SUCCESS : report_unacknowledged(gate, message->client);
}

/* The client has used up what plugin_opt_reports_per_minute gives it.  Nothing of the report is looked at. */
static int too_many(struct gate *gate, const struct mosquitto_evt_message *message)
{
	char reason[96];

	snprintf(reason, sizeof(reason), "more than %d reports a minute (reports_per_minute)",
		gate->options->reports_per_minute);
	gate->counters.reports_limited++;
	emit_denied(gate, message->client, message->topic, reason);
	return message->qos == 0 ? MOSQ_ERR_ACL_DENIED : report_unacknowledged(gate, message->client);
}

static bool within_limit(struct gate *gate, struct limit *limit)
{
	const struct limit_rule rule = {
		.burst = 2 * (int64_t)gate->options->reports_per_minute,
		.per_minute = gate->options->reports_per_minute,
	};

	return rule.per_minute == 0 || limit_take(limit, &rule, gate->clock.mono_us() / 1000);
}

/* `child`: the device that the client, a gateway, speaks for; NULL: itself. */
static enum ota_err append(struct gate *gate, const struct session *session, const char *child,
	const char *topic, const struct status_report *report)
{
	struct event event = {
		.kind = EVENT_REPORT,
		.session = session->number,
		.attempt = report->attempt,
		.retry_after_ms = report->retry_after_ms,
		.status = report->status,
		.flags = gate->options->enroll == ENROLL_KNOWN ? EVENT_FLAG_IF_KNOWN : 0,
		.device = child != NULL ? child : session->device,
		.client = session->client_id,
		.fleet = child != NULL ? session->device : session->fleet,
		.topic = child != NULL ? topic : NULL,
		.version = report->version,
		.hardware = report->hardware,
		.error = report->error,
		.json = report->json,
	};

	if (child != NULL) {
		event.flags |= EVENT_FLAG_VIA;
	}
	return emit_event(gate, &event);
}

/* The device has answered.  A gateway can take back only what went through its own session. */
static void answered(struct gate *gate, struct session *session, const char *child)
{
	const struct told_notice *notice;
	struct via_child *known;

	if (child == NULL) {
		session->answered = true;
		deliver_answered(gate, session->device);
		return;
	}
	known = via_child_of(&gate->via, session->device, child);
	if (known != NULL) {
		known->answered = true;
	}
	notice = told_notice_of(&gate->deliver.told, child);
	if (notice != NULL
		&& (notice->session == session->number
			|| (notice->terms != NULL && notice->terms->via != NULL
				&& strcmp(notice->terms->via, session->device) == 0))) {
		deliver_answered(gate, child);
	}
}

/*
 * The bucket that a report is taken from: each device has its own, also behind a gateway.  NULL: the first report of a device behind a
 * gateway, which is free: after a reconnect it brings them all, and how many it may have is bounded (via.h).
 */
static struct limit *limit_of(struct gate *gate, struct session *session, const char *child)
{
	struct via_child *known;

	if (child == NULL || session->device == NULL) {
		return &session->reports;
	}
	known = via_child_of(&gate->via, session->device, child);
	return known != NULL && known->session == session ? &known->reports : NULL;
}

static int take(struct gate *gate, const struct mosquitto_evt_message *message, const char *child)
{
	struct status_report report;
	struct ota_why why = { .text = "" };
	struct session *session = presence_session(gate, message->client);
	struct limit *limit = session == NULL ? NULL : limit_of(gate, session, child);
	enum ota_err err;

	gate->counters.reports_received++;
	if (limit != NULL && !within_limit(gate, limit)) {
		return too_many(gate, message);
	}
	err = status_report_parse(message->payload, message->payloadlen, &report, &why);
	if (err == OTA_ERR_NOMEM) {
		return refuse(gate, message, err);
	}
	if (err != OTA_OK) {
		/* A gateway's words about nobody are its own. */
		if (session != NULL && limit == NULL && !within_limit(gate, &session->reports)) {
			return too_many(gate, message);
		}
		emit_malformed(gate, message->client, message->topic, why.text);
		return MOSQ_ERR_SUCCESS;
	}

	if (session == NULL || (child != NULL && session->device == NULL)) {
		err = OTA_ERR_NOMEM;
	} else if (child != NULL) {
		err = via_speaks(gate, session, child);
	} else {
		err = presence_reported(gate, session);
	}
	if (err == OTA_ERR_FULL && child != NULL && session->children_count >= VIA_CHILDREN_MAX) {
		status_report_free(&report);
		emit_denied(gate, message->client, message->topic,
			"a gateway speaks for too many devices in one session");
		return MOSQ_ERR_ACL_DENIED;
	}
	if (err == OTA_OK) {
		err = append(gate, session, child, message->topic, &report);
	}
	if (err == OTA_OK
		&& (report.status != REPORT_IDLE
			|| again_runs_it(gate, child != NULL ? child : session->device, report.version))) {
		answered(gate, session, child);
	}
	if (err == OTA_OK) {
		grant_reported(gate, session, child != NULL ? child : session->device, report.status);
	}
	status_report_free(&report);

	if (err == OTA_ERR_INVALID) { /* cannot become a record, however often it is sent */
		emit_malformed(gate, message->client, message->topic, "the report is too large to keep");
		return MOSQ_ERR_SUCCESS;
	}
	return err == OTA_OK ? MOSQ_ERR_SUCCESS : refuse(gate, message, err);
}

/* With per_listener_settings, Mosquitto before 2.0.15 never calls the tick. */
static void miss_tick(struct gate *gate)
{
	int64_t now_us;

	if (gate->ticked || gate->tick_dead) {
		return;
	}
	now_us = gate->clock.mono_us();
	if (gate->first_report_us == 0) {
		gate->first_report_us = now_us == 0 ? 1 : now_us;
	} else if (now_us - gate->first_report_us >= TICK_PATIENCE_US) {
		gate->tick_dead = true;
		gate->attentive = true;
		gate_log(MOSQ_LOG_ERR,
			"the broker never calls the tick (per_listener_settings before Mosquitto 2.0.15): notices go "
			"out only while messages come in; use a newer broker or do without per_listener_settings");
	}
}

/* A topic that looks like one of ours. */
__attribute__((noinline)) static int take_ours(
	struct gate *gate, struct mosquitto_evt_message *message, unsigned candidates)
{
	struct policy_topic topic;
	const char *reason = "";
	const char *identity;
	char child[TOPIC_ID_MAX + 1];

	if (gate->tick_dead) {
		gate_work(gate);
	}
	if (candidates == 0) {
		window_other(&gate->deliver.window);
		return MOSQ_ERR_SUCCESS;
	}
	candidates = policy_narrow(&gate->policy, message->topic, candidates);
	policy_sort(&gate->policy, message->topic, candidates, &topic);
	if (topic.subject == POLICY_FOREIGN || message->client == NULL) {
		return topic.subject == POLICY_FOREIGN ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
	}
	miss_tick(gate);
	if (topic.subject == POLICY_BLOCK_GET) {
		return blocks_on_message(gate, message, &topic);
	}

	/* Once more: bridges of this broker are never asked by ACL_CHECK. */
	identity = gate_identity(gate, message->client);
	if (policy_decide(POLICY_WRITE, &topic, identity, false, &reason) != POLICY_ALLOW) {
		if (via_may_report(gate, identity, &topic) && topic.value.length < sizeof(child)) {
			memcpy(child, topic.value.text, topic.value.length);
			child[topic.value.length] = '\0';
			return take(gate, message, child);
		}
		if (push_wanted(gate, message->client, &topic)) {
			return push_on_message(gate, message, &topic);
		}
		emit_denied(gate, message->client, message->topic, reason);
		return MOSQ_ERR_ACL_DENIED;
	}
	return take(gate, message, NULL);
}

int report_on_message(int event, void *data, void *userdata)
{
	struct gate *gate = userdata;
	struct mosquitto_evt_message *message = data;
	unsigned candidates = policy_candidates(&gate->policy, message->topic);
	(void)event;

	if (candidates == 0
		&& !gate->attentive) { /* without a stack frame: nearly all messages are others' */
		return MOSQ_ERR_SUCCESS;
	}
	return take_ours(gate, message, candidates);
}
