/*
 * deliver_send - one message to one device: which topic, and the hand-over to the broker.
 *
 * Thread: broker.
 */
#pragma once

#include <stddef.h>

#include "ota/base/error.h"
#include "ota/rules/report.h"
#include "ota/wire/change.h"

struct gate;
struct session;

/*
 * Send `payload`, of which the broker gets a copy, to the session, QoS 1.  Topic: where this session subscribed; else `hint`
 * (may be NULL), when it is a notify topic of this device or of `fleet`; else the last notify topic that can be filled in.
 * To the session of another, its gateway, only topics that name the device are sent.
 * `fleet` may be NULL.  OTA_ERR_INVALID: there is no topic; OTA_ERR_NOMEM, OTA_ERR_UNAVAILABLE: the broker did not take it.
 * "Sent" is not "delivered": a directed message is neither checked nor acknowledged to the plugin.
 */
OTA_MUST_USE enum ota_err deliver_send(const struct gate *gate, const struct session *session,
	const char *device, const char *hint, const char *fleet, const char *payload, size_t length);

/*
 * The offer could not be told: say so, for the database to take it back.  `session` may be NULL.  REPORT_REJECTED: it never fits;
 * else it may be offered again.  `code` for machines, `words` for people.  Nothing is said of an offer that was told before.
 */
void deliver_undelivered(struct gate *gate, const struct change *offer,
	const struct session *session, enum report_status status, const char *code, const char *words);
