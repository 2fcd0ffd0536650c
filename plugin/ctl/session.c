#include "ota/ctl/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mosquitto.h>
#include <openssl/rand.h>

#include "ota/base/clock.h"
#include "ota/wire/control.h"
#include "ota/wire/json.h"

enum {
	KEEPALIVE_S = 30,
	SLICE_MS = 100,
	ANSWER_DEPTH = 32,
	ID_SIZE = 40,
	CONNECTING = -1
};

struct session {
	struct mosquitto *mosq;
	const struct connection *connection;
	int connack; /* CONNECTING: none yet */
	unsigned number;
	char *payload; /* the last answer */
	size_t length;
	char tag[ID_SIZE];
};

static void on_connect(struct mosquitto *mosq, void *context, int code)
{
	struct session *session = context;

	(void)mosq;
	session->connack = code;
}

static void on_message(
	struct mosquitto *mosq, void *context, const struct mosquitto_message *message)
{
	struct session *session = context;

	(void)mosq;
	if (strcmp(message->topic, CONTROL_RESPONSE_TOPIC) != 0 || message->payloadlen < 0) {
		return;
	}
	free(session->payload);
	session->length = (size_t)message->payloadlen;
	session->payload = malloc(session->length + 1);
	if (session->payload) {
		memcpy(session->payload, message->payload, session->length);
		session->payload[session->length] = '\0';
	}
}

static enum ota_err set_up(struct session *session, struct ota_why *why)
{
	const struct connection *connection = session->connection;
	const bool tls = connection->cafile || connection->capath;
	int rc = MOSQ_ERR_SUCCESS;

	mosquitto_connect_callback_set(session->mosq, on_connect);
	mosquitto_message_callback_set(session->mosq, on_message);
	(void)mosquitto_int_option(session->mosq, MOSQ_OPT_PROTOCOL_VERSION, connection->protocol);
	if (connection->username) {
		rc = mosquitto_username_pw_set(session->mosq, connection->username, connection->password);
	}
	if (!rc && !tls && (connection->cert || connection->key || connection->insecure)) {
		ota_why_set(why, "--cert, --key and --insecure need --cafile or --capath");
		return OTA_ERR_INVALID;
	}
	if (!rc && tls) {
		rc = mosquitto_tls_set(session->mosq, connection->cafile, connection->capath,
			connection->cert, connection->key, NULL);
		if (!rc) {
			rc = mosquitto_tls_opts_set(
				session->mosq, 1, connection->tls_version, connection->ciphers);
		}
		if (!rc && connection->insecure) {
			rc = mosquitto_tls_insecure_set(session->mosq, true);
		}
	}
	if (rc) {
		ota_why_set(why, "the connection options are not acceptable: %s", mosquitto_strerror(rc));
		return OTA_ERR_INVALID;
	}
	return OTA_OK;
}

/* One round of the network; false: the connection is gone. */
static bool serve(struct session *session)
{
	return mosquitto_loop(session->mosq, SLICE_MS, 1) == MOSQ_ERR_SUCCESS;
}

static enum ota_err connect_now(struct session *session, struct ota_why *why)
{
	const struct connection *connection = session->connection;
	const bool tls = connection->cafile || connection->capath;
	const int port = connection->port > 0 ? connection->port : tls ? 8883 : 1883;
	const int64_t deadline = clock_mono_ms() + connection->timeout_s * INT64_C(1000);
	int rc = mosquitto_connect_bind(
		session->mosq, connection->host, port, KEEPALIVE_S, connection->bind);

	if (rc) {
		ota_why_set(why, "cannot connect to %s, port %d: %s", connection->host, port,
			rc == MOSQ_ERR_ERRNO ? "no broker listens there" : mosquitto_strerror(rc));
		return OTA_ERR_UNAVAILABLE;
	}
	while (session->connack == CONNECTING) {
		if (clock_mono_ms() >= deadline) {
			ota_why_set(why, "no answer from %s, port %d within %d s", connection->host, port,
				connection->timeout_s);
			return OTA_ERR_TIMEOUT;
		}
		if (!serve(session) && session->connack == CONNECTING) {
			ota_why_set(why,
				"%s, port %d closed the connection: is it a broker, with or without TLS?",
				connection->host, port);
			return OTA_ERR_UNAVAILABLE;
		}
	}
	if (session->connack != 0) {
		ota_why_set(why, "the broker refuses the connection: %s",
			connection->protocol == 5 ? mosquitto_reason_string(session->connack)
									  : mosquitto_connack_string(session->connack));
		return OTA_ERR_DENIED;
	}
	return OTA_OK;
}

enum ota_err session_open(
	const struct connection *connection, struct session **out, struct ota_why *why)
{
	struct session *session = calloc(1, sizeof(*session));
	unsigned char random[8];
	enum ota_err err;

	if (!session || RAND_bytes(random, sizeof(random)) != 1) {
		free(session);
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	session->connection = connection;
	session->connack = CONNECTING;
	(void)snprintf(session->tag, sizeof(session->tag), "ota-ctl-%02x%02x%02x%02x%02x%02x%02x%02x",
		random[0], random[1], random[2], random[3], random[4], random[5], random[6], random[7]);
	session->mosq = mosquitto_new(connection->id ? connection->id : session->tag, true, session);
	if (!session->mosq) {
		ota_why_set(why, "--id \"%s\" is not acceptable", connection->id ? connection->id : "");
		err = OTA_ERR_INVALID;
	} else {
		err = set_up(session, why);
	}
	if (!err) {
		err = connect_now(session, why);
	}
	if (err) {
		session_close(session);
		return err;
	}
	*out = session;
	return OTA_OK;
}

void session_close(struct session *session)
{
	if (!session) {
		return;
	}
	if (session->mosq) {
		if (session->connack == 0) {
			(void)mosquitto_disconnect(session->mosq);
		}
		mosquitto_destroy(session->mosq);
	}
	free(session->payload);
	free(session);
}

/* Is this the answer to the command with this correlation?  A refusal without any is: answers come to us only. */
static enum ota_err read_answer(
	struct session *session, const char *correlation, struct answer *answer, struct ota_why *why)
{
	struct ota_why inner = { "" };
	cJSON *root = NULL;
	const cJSON *first;
	const cJSON *other;
	const cJSON *error;
	enum ota_err err =
		json_parse_object(session->payload, session->length, ANSWER_DEPTH, &root, &inner);

	if (err) {
		ota_why_set(why, "the broker's answer cannot be read: %s", inner.text);
		return err;
	}
	first = cJSON_GetArrayItem(json_member(root, "responses"), 0);
	other = json_member(first, "correlationData");
	error = json_member(first, "error");
	if (other && (!cJSON_IsString(other) || strcmp(other->valuestring, correlation) != 0)) {
		err = OTA_ERR_NOT_FOUND; /* of an earlier command, which we no longer waited for */
	} else if (cJSON_IsString(error)) {
		answer->error = strdup(error->valuestring);
		err = answer->error ? OTA_ERR_DENIED : OTA_ERR_NOMEM;
	} else if (cJSON_IsObject(first) && cJSON_IsObject(json_member(first, "data"))) {
		answer->data = cJSON_DetachItemFromObjectCaseSensitive(
			cJSON_GetArrayItem(json_member(root, "responses"), 0), "data");
	} else {
		ota_why_set(why, "the broker's answer has neither data nor an error");
		err = OTA_ERR_INVALID;
	}
	cJSON_Delete(root);
	return err;
}

static enum ota_err wait_answer(
	struct session *session, const char *correlation, struct answer *answer, struct ota_why *why)
{
	const struct connection *connection = session->connection;
	const int64_t deadline = clock_mono_ms() + connection->timeout_s * INT64_C(1000);

	while (clock_mono_ms() < deadline) {
		if (!serve(session)) {
			ota_why_set(why, "the connection to the broker is lost");
			return OTA_ERR_UNAVAILABLE;
		}
		if (session->payload) {
			enum ota_err err = read_answer(session, correlation, answer, why);

			free(session->payload);
			session->payload = NULL;
			if (err != OTA_ERR_NOT_FOUND) {
				return err;
			}
		}
	}
	ota_why_set(why,
		"no answer from the broker within %d s: is the plugin mosquitto_ota.so loaded, and may %s publish to " CONTROL_TOPIC
		"?",
		connection->timeout_s, connection->username ? connection->username : "an anonymous user");
	return OTA_ERR_TIMEOUT;
}

enum ota_err session_ask(
	struct session *session, cJSON *command, struct answer *answer, struct ota_why *why)
{
	char correlation[ID_SIZE + 16];
	cJSON *request = cJSON_CreateObject();
	cJSON *commands = cJSON_AddArrayToObject(request, "commands");
	char *payload = NULL;
	int rc;
	enum ota_err err = OTA_ERR_NOMEM;

	*answer = (struct answer){ 0 };
	(void)snprintf(correlation, sizeof(correlation), "%s-%u", session->tag, ++session->number);
	cJSON_DeleteItemFromObjectCaseSensitive(command, "correlationData");
	if (commands && cJSON_AddStringToObject(command, "correlationData", correlation)
		&& cJSON_AddItemReferenceToArray(commands, command)) {
		payload = cJSON_PrintUnformatted(request);
	}
	if (!payload) {
		ota_why_set(why, "out of memory");
		goto out;
	}
	if (strlen(payload) > CONTROL_PAYLOAD_MAX) {
		ota_why_set(why, "the command has %zu bytes; accepted are up to %d", strlen(payload),
			CONTROL_PAYLOAD_MAX);
		err = OTA_ERR_INVALID;
		goto out;
	}
	rc = mosquitto_publish(
		session->mosq, NULL, CONTROL_TOPIC, (int)strlen(payload), payload, 1, false);
	if (rc) {
		ota_why_set(why, "the command cannot be sent: %s", mosquitto_strerror(rc));
		err = OTA_ERR_UNAVAILABLE;
		goto out;
	}
	err = wait_answer(session, correlation, answer, why);
out:
	free(payload);
	cJSON_Delete(request);
	return err;
}

enum ota_err session_wait(struct session *session, int milliseconds)
{
	const int64_t deadline = clock_mono_ms() + milliseconds;

	while (clock_mono_ms() < deadline) {
		if (!serve(session)) {
			return OTA_ERR_UNAVAILABLE;
		}
	}
	return OTA_OK;
}
