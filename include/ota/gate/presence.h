/*
 * presence - which client is a device, since when, and whether it can be told something.
 *
 * Thread: broker.
 */
#pragma once

#include "ota/base/error.h"

struct gate;
struct mosquitto;
struct policy_topic;
struct session;

/* The entry of a client that is certainly connected now; NULL: it has no id, or no memory. */
OTA_MUST_USE struct session *presence_session(struct gate *gate, struct mosquitto *client);

/* A connection is seen for the first time: did a kept session come back? */
void presence_look(struct gate *gate, struct mosquitto *client);

/* It asks for its own notify topic, by exact name; whether it gets it shows at the next tick. */
void presence_subscribe(
	struct gate *gate, struct mosquitto *client, const struct policy_topic *topic);
void presence_unsubscribe(
	struct gate *gate, struct mosquitto *client, const struct policy_topic *topic);

/* It reported: it is a device.  Tells the store so, once.  Errors of emit_event(), and OTA_ERR_NOMEM. */
OTA_MUST_USE enum ota_err presence_reported(struct gate *gate, struct session *session);

/* Confirm the subscriptions asked for since the last tick. */
void presence_confirm(struct gate *gate);

/* Callbacks of the broker. */
int presence_on_connect(int event, void *data, void *userdata);
int presence_on_disconnect(int event, void *data, void *userdata);
int presence_on_offline(int event, void *data, void *userdata);
