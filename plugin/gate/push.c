#include "ota/gate/push.h"

#include <string.h>

#include "ota/gate/control.h"
#include "ota/gate/emit.h"
#include "ota/gate/report.h"
#include "ota/gate/session.h"
#include "ota/gate/state.h"
#include "ota/wire/push.h"

bool push_wanted(
	const struct gate *gate, const struct mosquitto *client, const struct policy_topic *topic)
{
	const struct session *session;

	if (gate->options->intercept_push != INTERCEPT_PUSH_STAGE || topic->subject != POLICY_NOTIFY
		|| topic->placeholder != TOPIC_FLEET || !topic->exact || client == NULL
		|| mosquitto_client_id(client) == NULL
		|| !control_allows(gate, mosquitto_client_username(client))) {
		return false;
	}
	/* A will is no push: 2.1 asks for it before the connection is there, 2.0 when a kept session's is over. */
	session = sessions_find(&gate->sessions, client);
	return session != NULL ? !session->ended : !gate->modern;
}

/* Nobody subscribes to it: it begins with '$', which no wildcard reaches, and goes on with what nobody knows. */
static void hide(const struct gate *gate, char *topic)
{
	size_t length = strlen(topic);

	for (size_t i = 0; i < length; i++) {
		topic[i] = i == 0 ? '$' : gate->hidden[i % (sizeof(gate->hidden) - 1)];
	}
}

static enum ota_err hand_over(struct gate *gate, const struct mosquitto_evt_message *message,
	const struct policy_topic *topic, struct ota_why *why)
{
	char fleet[TOPIC_ID_MAX + 1] = "";
	struct control_request *request = NULL;
	enum ota_err err;

	memcpy(fleet, topic->value.text, topic->value.length);
	err = push_parse(message->payload == NULL ? "" : message->payload, message->payloadlen, fleet,
		&request, why);
	if (err != OTA_OK) {
		return err;
	}
	err = push_name(request, message->topic, mosquitto_client_id(message->client),
		mosquitto_client_username(message->client));
	if (err == OTA_OK) {
		err = gate->links.command == NULL ? OTA_ERR_UNAVAILABLE
										  : gate->links.command(gate->links.context, request);
	}
	if (err != OTA_OK) {
		control_request_free(request);
		ota_why_set(why, "the update cannot be taken now (%s): publish it again later",
			err == OTA_ERR_UNAVAILABLE    ? "PostgreSQL is away"
				: err == OTA_ERR_CONFLICT ? "PostgreSQL is busy opening a stage of many devices"
										  : ota_err_name(err));
	}
	return err;
}

static void refused(struct gate *gate, const char *client_id, const char *topic, const char *reason)
{
	if (emit_denied_named(gate, client_id, topic, reason)) {
		gate_log(MOSQ_LOG_WARNING, "an update that client %s published to %s is refused: %s",
			client_id, topic, reason);
	}
}

int push_on_message(
	struct gate *gate, struct mosquitto_evt_message *message, const struct policy_topic *topic)
{
	struct ota_why why = { "" };
	enum ota_err err = hand_over(gate, message, topic, &why);

	if (err == OTA_OK) {
		message->retain = false;
		hide(gate, message->topic);
		return MOSQ_ERR_SUCCESS;
	}
	refused(gate, mosquitto_client_id(message->client), message->topic, why.text);
	if (err == OTA_ERR_INVALID || message->qos == 0) {
		return MOSQ_ERR_ACL_DENIED;
	}
	return report_unacknowledged(gate, message->client);
}

void push_answered(struct gate *gate, const char *client_id, const char *topic, const char *reason)
{
	if (client_id == NULL || topic == NULL) {
		return;
	}
	if (reason == NULL) {
		gate_log(MOSQ_LOG_NOTICE,
			"the update that client %s published to %s is taken: its rollout begins when the release "
			"is verified",
			client_id, topic);
		return;
	}
	refused(gate, client_id, topic, reason);
}
