/*
 * emit - events out of the gate, into the outbox.
 *
 * Thread: broker.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/wire/event.h"

struct gate;
struct mosquitto;

/* Stamp, encode and append.  OTA_ERR_FULL: no room now.  OTA_ERR_INVALID: the event is larger than a record. */
OTA_MUST_USE enum ota_err emit_event(struct gate *gate, struct event *event);

/*
 * The same for who is there, who listens and who is gone, which no acknowledgement waits for: many of them are one write, with the next
 * emit_flush() or the next event of another kind, in the order in which they were emitted.
 */
OTA_MUST_USE enum ota_err emit_gather(struct gate *gate, struct event *event);
/* A failure is counted. */
void emit_gather_or_lose(struct gate *gate, struct event *event);
/* Where they cannot be written now, they wait for the next tick. */
void emit_flush(struct gate *gate);

/* Like emit_event(), for events that nobody waits for: a failure is counted. */
void emit_or_lose(struct gate *gate, struct event *event);

/* Something was refused: counted always, recorded as far as the rate limit allows. */
void emit_denied(
	struct gate *gate, const struct mosquitto *client, const char *topic, const char *reason);

/* The same of a client that may be gone by now.  True: the rate leaves room for it, so that it may be logged too. */
bool emit_denied_named(
	struct gate *gate, const char *client_id, const char *topic, const char *reason);

/* A status payload that is not one; like emit_denied(). */
void emit_malformed(
	struct gate *gate, const struct mosquitto *client, const char *topic, const char *reason);
