/*
 * control - commands of operators on $CONTROL/ota/v1, and the answers to them.
 *
 * Thread: requests are parsed on the broker's and used up on the store's, one owner at a time.
 * Source of the shape: Mosquitto's $CONTROL/dynamic-security/v1.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

#include "ota/base/error.h"

#define CONTROL_TOPIC          "$CONTROL/ota/v1"
#define CONTROL_RESPONSE_TOPIC "$CONTROL/ota/v1/response"
/* How a refusal begins that is nobody's fault and passes: the broker does not reach the database. */
#define CONTROL_NO_DATABASE "PostgreSQL "
/* Such refusals of what has not been begun. */
#define CONTROL_AWAY    \
	CONTROL_NO_DATABASE \
	"is away: nothing was done; try again later, $SYS/broker/ota/database tells since when"
#define CONTROL_BUSY    \
	CONTROL_NO_DATABASE \
	"is busy opening a stage of many devices: nothing was done; try again in some minutes"

enum {
	CONTROL_PAYLOAD_MAX =
		393216, /* bytes of a request: the largest envelope, and room for what is around it */
	CONTROL_COMMANDS_MAX = 32, /* of one request */
	CONTROL_DEPTH_MAX = 16,
	CONTROL_NAME_MAX = 64,
	CONTROL_CORRELATION_MAX = 256,
	CONTROL_ANSWER_MAX = 262144, /* bytes of JSON that one command answers at most */
};

/* Views into the request. */
struct control_command {
	const char *name;
	const char *correlation; /* NULL: none */
	const cJSON *members;    /* the whole object, "command" and "correlationData" with it */
};

/* One message of an operator.  `client` and `user` are set by the gate and belong to the request. */
struct control_request {
	char *client; /* MQTT client id: where the answer goes */
	char *user;   /* the authenticated user name */
	/* Where an update was published instead of a request (wire/push.h); NULL: CONTROL_TOPIC. */
	char *topic;
	cJSON *root;
	size_t count;
	struct control_command commands[CONTROL_COMMANDS_MAX];
};

/*
 * Parse {"commands":[{"command":"...","correlationData":"...", ...}]}: 1..CONTROL_COMMANDS_MAX objects, each with a name; further
 * members are the command's.  One bad command refuses them all, so that nothing is done by halves.
 * OTA_ERR_INVALID with the reason; OTA_ERR_NOMEM.  `*request` is the caller's: control_request_free().
 */
OTA_MUST_USE enum ota_err control_request_parse(
	const char *payload, size_t length, struct control_request **request, struct ota_why *why);
void control_request_free(struct control_request *request); /* NULL is fine */

/* The answers to one request, growing; start zeroed. */
struct control_answers {
	char *text;
	size_t length;
	size_t capacity;
	bool failed; /* out of memory */
	char *error; /* the words of the first refusal; NULL: none, or no memory for them */
};

/* Add an answer; `data` is JSON and stands as it is.  `correlation` may be NULL. */
void control_answer_data(struct control_answers *answers, const char *command,
	const char *correlation, const char *data);
/* Add a refusal; `error` is text (what is not UTF-8 becomes '?'), `code` an SQLSTATE or NULL. */
void control_answer_error(struct control_answers *answers, const char *command,
	const char *correlation, const char *error, const char *code);
/* {"responses":[...]}, malloc'ed, the caller's; the answers are empty then.  NULL: out of memory somewhere on the way. */
OTA_MUST_USE char *control_answers_end(struct control_answers *answers);
void control_answers_free(struct control_answers *answers);

/* {"responses":[{...,"error":...}]} for every command of the request (NULL: one without a name); NULL: no memory. */
OTA_MUST_USE char *control_refusal(const struct control_request *request, const char *error);
