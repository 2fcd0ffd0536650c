/*
 * control - operators' commands on $CONTROL/ota/v1: who may, and where the answer goes.
 *
 * Answers go to the client that asked and to nobody else (a directed publish on the response topic, QoS 1), so that no right to
 * subscribe is needed for it and no other client can read along; several operators at once see only their own.
 * Thread: broker.
 */
#pragma once

#include <stdbool.h>

#include "ota/base/error.h"
#include "ota/gate/compat.h"

/* MOSQ_EVT_CONTROL.  Always MOSQ_ERR_SUCCESS: anything else disconnects the client. */
int control_on_message(int event, void *data, void *userdata);

struct gate;

/* Is this user (NULL: anonymous) in control_users? */
OTA_MUST_USE bool control_allows(const struct gate *gate, const char *user);

/* Send an answer, which stays the caller's, to this client; NULL for either does nothing. */
void control_respond(const char *client_id, const char *text);
