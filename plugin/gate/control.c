#include "ota/gate/control.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/gate/emit.h"
#include "ota/gate/state.h"
#include "ota/wire/control.h"

void control_respond(const char *client_id, const char *text)
{
	size_t length = text == NULL ? 0 : strlen(text);
	void *copy;

	if (client_id == NULL || text == NULL || length > INT_MAX) {
		return;
	}
	/* From the broker's allocator: the broker frees it, and its memory accounting stays right. */
	copy = mosquitto_malloc(length + 1);
	if (copy == NULL) {
		return;
	}
	memcpy(copy, text, length + 1);
	/* QoS 1: the broker leaks messages of QoS 0 to kept sessions whose client is away. */
	if (mosquitto_broker_publish(
			client_id, CONTROL_RESPONSE_TOPIC, (int)length, copy, 1, false, NULL)
		!= MOSQ_ERR_SUCCESS) {
		mosquitto_free(copy);
	}
}

static void refuse(const char *client_id, const struct control_request *request, const char *reason)
{
	char *text = control_refusal(request, reason);

	control_respond(client_id, text);
	free(text);
}

bool control_allows(const struct gate *gate, const char *user)
{
	for (size_t i = 0; user != NULL && i < gate->options->control_users_count; i++) {
		if (strcmp(gate->options->control_users[i], user) == 0) {
			return true;
		}
	}
	return false;
}

static void hand_over(
	struct gate *gate, const char *client_id, const char *user, struct control_request *request)
{
	struct ota_why why = { "" };
	enum ota_err err = OTA_ERR_UNAVAILABLE;

	request->client = strdup(client_id);
	request->user = strdup(user);
	if (request->client == NULL || request->user == NULL) {
		err = OTA_ERR_NOMEM;
	} else if (gate->links.command != NULL) {
		err = gate->links.command(gate->links.context, request);
	}
	if (err == OTA_OK) {
		return;
	}
	if (err == OTA_ERR_UNAVAILABLE) {
		ota_why_set(&why, CONTROL_AWAY);
	} else if (err == OTA_ERR_CONFLICT) {
		ota_why_set(&why, CONTROL_BUSY);
	} else {
		ota_why_set(&why, "the broker cannot take the command now (%s): try again in a moment",
			ota_err_name(err));
	}
	refuse(client_id, request, why.text);
	control_request_free(request);
}

int control_on_message(int event, void *data, void *userdata)
{
	struct gate *gate = userdata;
	const struct mosquitto_evt_control *control = data;
	const char *client_id = control->client == NULL ? NULL : mosquitto_client_id(control->client);
	const char *user = control->client == NULL ? NULL : mosquitto_client_username(control->client);
	struct control_request *request = NULL;
	struct ota_why why = { "" };
	(void)event;

	if (gate->tick_dead) {
		gate_work(gate);
	}
	if (client_id == NULL) {
		return MOSQ_ERR_SUCCESS;
	}
	/* Before a byte is parsed. */
	if (!control_allows(gate, user)) {
		emit_denied(gate, control->client, CONTROL_TOPIC, "not a control user");
		refuse(client_id, NULL,
			gate->options->control_users_count == 0
				? "not allowed: plugin_opt_control_users names nobody"
				: "not allowed: this user name is not in plugin_opt_control_users");
		return MOSQ_ERR_SUCCESS;
	}
	if (control_request_parse(
			control->payload == NULL ? "" : control->payload, control->payloadlen, &request, &why)
		!= OTA_OK) {
		refuse(client_id, NULL, why.text);
		return MOSQ_ERR_SUCCESS;
	}
	hand_over(gate, client_id, user, request);
	return MOSQ_ERR_SUCCESS;
}
