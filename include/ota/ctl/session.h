/*
 * session - a connection to the broker that asks and waits for answers.
 *
 * Thread: main; the network is served while an answer is waited for.
 */
#pragma once

#include <cjson/cJSON.h>

#include "ota/base/error.h"
#include "ota/ctl/options.h"

struct session;

/* Connect; OTA_ERR_UNAVAILABLE, OTA_ERR_DENIED or OTA_ERR_TIMEOUT with the reason.  Free with session_close(). */
OTA_MUST_USE enum ota_err session_open(
	const struct connection *connection, struct session **session, struct ota_why *why);
void session_close(struct session *session); /* NULL is fine */

/* What the broker said. */
struct answer {
	cJSON *data; /* the caller's: cJSON_Delete() */
	char *error; /* the broker's words, the caller's: free(); then data is NULL */
};

/*
 * Send one command (an object with "command"; "correlationData" is added) and wait for its answer.  OTA_OK: data is set;
 * OTA_ERR_DENIED: error is set; OTA_ERR_TIMEOUT, OTA_ERR_UNAVAILABLE, OTA_ERR_INVALID (an answer that is none): with the reason.
 */
OTA_MUST_USE enum ota_err session_ask(
	struct session *session, cJSON *command, struct answer *answer, struct ota_why *why);

/* Serve the network for so long; OTA_ERR_UNAVAILABLE: the connection is lost. */
OTA_MUST_USE enum ota_err session_wait(struct session *session, int milliseconds);
