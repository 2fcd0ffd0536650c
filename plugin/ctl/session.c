#include "ota/ctl/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	TROUBLE_SIZE = 200,
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
	char trouble
		[TROUBLE_SIZE]; /* the first error that the library told of: its codes do not say what a file lacks */
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

static void on_log(struct mosquitto *mosq, void *context, int level, const char *text)
{
	struct session *session = context;

	(void)mosq;
	if (level == MOSQ_LOG_ERR && session->trouble[0] == '\0') {
		const char *words = strncmp(text, "Error: ", 7) == 0 ? text + 7 : text;
		size_t length = strcspn(words, "\r\n");

		length = length < TROUBLE_SIZE - 4 ? length : TROUBLE_SIZE - 4;
		session->trouble[0] = ' ';
		session->trouble[1] = '(';
		memcpy(session->trouble + 2, words, length);
		memcpy(session->trouble + 2 + length, ")", 2);
	}
}

/* The library says only that some argument is wrong. */
static enum ota_err check_file(const char *option, const char *path, int mode, struct ota_why *why)
{
	if (!path || access(path, mode) == 0) {
		return OTA_OK;
	}
	ota_why_set(why, "%s is \"%s\": %s; accepted is a %s that can be read", option, path,
		strerrordesc_np(errno), mode == R_OK ? "file in PEM" : "folder");
	return OTA_ERR_INVALID;
}

static enum ota_err check_files(const struct connection *connection, struct ota_why *why)
{
	enum ota_err err = check_file("--cafile", connection->cafile, R_OK, why);

	if (!err) {
		err = check_file("--capath", connection->capath, R_OK | X_OK, why);
	}
	if (!err) {
		err = check_file("--cert", connection->cert, R_OK, why);
	}
	if (!err) {
		err = check_file("--key", connection->key, R_OK, why);
	}
	return err;
}

static enum ota_err set_up(struct session *session, struct ota_why *why)
{
	const struct connection *connection = session->connection;
	const bool tls = connection->cafile || connection->capath;
	int rc = MOSQ_ERR_SUCCESS;

	mosquitto_connect_callback_set(session->mosq, on_connect);
	mosquitto_message_callback_set(session->mosq, on_message);
	mosquitto_log_callback_set(session->mosq, on_log);
	(void)mosquitto_int_option(session->mosq, MOSQ_OPT_PROTOCOL_VERSION, connection->protocol);
	if (connection->username) {
		rc = mosquitto_username_pw_set(session->mosq, connection->username, connection->password);
	}
	if (!rc && !tls && (connection->cert || connection->key || connection->insecure)) {
		ota_why_set(why, "--cert, --key and --insecure need --cafile or --capath");
		return OTA_ERR_INVALID;
	}
	if (!rc && tls && check_files(connection, why) != OTA_OK) {
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
		ota_why_set(why, "the connection options are not acceptable: %s%s", mosquitto_strerror(rc),
			session->trouble);
		return OTA_ERR_INVALID;
	}
	return OTA_OK;
}

/* One round of the network; false: the connection is gone. */
static bool serve(struct session *session)
{
	return mosquitto_loop(session->mosq, SLICE_MS, 1) == MOSQ_ERR_SUCCESS;
}

/* Words for what the library has left in errno, which on some versions is the number of a later failure. */
static const char *why_unreached(int number)
{
	switch (number) {
	case EADDRNOTAVAIL:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ETIMEDOUT:
		return strerrordesc_np(number);
	default:
		return "no broker listens there";
	}
}

static enum ota_err connect_now(struct session *session, struct ota_why *why)
{
	const struct connection *connection = session->connection;
	const bool tls = connection->cafile || connection->capath;
	const int port = connection->port > 0 ? connection->port : tls ? 8883 : 1883;
	const int64_t deadline = clock_mono_ms() + connection->timeout_s * INT64_C(1000);
	int rc;

	errno = 0;
	rc = mosquitto_connect_bind(
		session->mosq, connection->host, port, KEEPALIVE_S, connection->bind);
	if (rc) {
		const char *reason = rc == MOSQ_ERR_ERRNO ? why_unreached(errno) : mosquitto_strerror(rc);

		ota_why_set(why, "cannot connect to %s, port %d%s%s: %s%s", connection->host, port,
			connection->bind ? ", from " : "", connection->bind ? connection->bind : "", reason,
			session->trouble);
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
				"%s, port %d closed the connection: is it a broker, with or without TLS?%s",
				connection->host, port, session->trouble);
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
