/*
 * push - updates that a back end publishes to a whole fleet, with plugin_opt_intercept_push stage: handed over as commands.
 *
 * The broker goes on as if the publish had been an ordinary one, and it reaches nobody: it is given a topic that nobody knows, and is
 * not retained.  So an old back end sees what it always saw.
 * Thread: broker.
 */
#pragma once

#include <stdbool.h>

#include "ota/gate/compat.h"
#include "ota/gate/policy.h"

struct gate;

/* Does a publish of this client on this topic start a rollout: a fleet's notify topic, a user in control_users, and the option set? */
OTA_MUST_USE bool push_wanted(
	const struct gate *gate, const struct mosquitto *client, const struct policy_topic *topic);

/*
 * Take the update, for which push_wanted() is true.  Returns what the callback returns: MOSQ_ERR_SUCCESS when it was handed over, and
 * then the message's topic and retain flag are changed.  What cannot be read is denied; what cannot be handed over now is
 * refused as a report is (report.c): not acknowledged, or with a reason code.  Both are recorded.
 */
OTA_MUST_USE int push_on_message(
	struct gate *gate, struct mosquitto_evt_message *message, const struct policy_topic *topic);

/* What became of it, from the store; `reason` NULL: taken. */
void push_answered(struct gate *gate, const char *client_id, const char *topic, const char *reason);
