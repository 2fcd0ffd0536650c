/*
 * event - what the broker's thread saw, as a record for the outbox.
 *
 * The gate makes events, the outbox keeps their bytes, the store folds them into PostgreSQL.  Decoding is a parser:
 * records come back from disk.
 * Thread: encode broker, decode store.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/rules/report.h"

/* `error` of an EVENT_UNDELIVERED for which no URL could be made; it also stands in ota.device_update.error. */
#define EVENT_URL_NOT_MADE "URL_NOT_MADE"

enum {
	EVENT_RECORD_MAX = 16384
};

enum event_kind {
	EVENT_CONNECTED = 1, /* a device's session began */
	EVENT_DISCONNECTED,  /* it ended; text: the reason where the broker gives one */
	EVENT_LISTENING,     /* it can be told now; fleet and topic where it subscribed by exact name */
	EVENT_REPORT,        /* a status report; json: all of it */
	EVENT_MALFORMED,     /* a status payload that is not one; text: the reason */
	EVENT_DENIED,        /* refused; topic and text: the reason */
	EVENT_UNDELIVERED, /* an offer that was not sent; rollout, attempt; text: why; status REPORT_REJECTED: not eligible */
	EVENT_TOLD, /* a device is told again while the database is away; rollout, attempt; session 0: through its gateway */
	EVENT_KIND_MAX = EVENT_TOLD
};

/* Strings are views: into the gate's memory when encoding, into the record when decoding.  Never NULL after decoding. */
struct event {
	enum event_kind kind;
	int64_t at_ms;
	int64_t session; /* number of the MQTT session, grows with time on one broker; 0: none */
	int64_t rollout;
	int32_t attempt;
	int64_t retry_after_ms;
	enum report_status status;
	int32_t flags;      /* EVENT_FLAG_* */
	const char *device; /* device id; for DENIED and MALFORMED the client's identity */
	const char *client; /* MQTT client id */
	const char *fleet;  /* from the subscribed topic, "" = none */
	const char *topic;
	const char *version;
	const char *hardware;
	const char *error;
	const char *text;
	const char *json; /* "" = none, else valid JSON */
};

enum {
	/* Only if the device exists already: a kept session came back, and we cannot know whether it is a device. */
	EVENT_FLAG_IF_KNOWN = 1,
	/* A gateway says it for the device: `fleet` is the gateway's identity, `client` and `session` are the gateway's. */
	EVENT_FLAG_VIA = 2,
};

/*
 * Write the record into `out`; *length is set.  NULL strings count as ""; bytes that are not UTF-8 become '?', because PostgreSQL would
 * refuse the whole batch for them.  OTA_ERR_FULL: larger than `size` or EVENT_RECORD_MAX, `out` is garbage then;
 * OTA_ERR_INVALID: unknown kind, status or flag.
 */
OTA_MUST_USE enum ota_err event_encode(
	const struct event *event, uint8_t *out, size_t size, size_t *length);

/*
 * Read a record; the strings point into `record`, which must stay, are terminated and UTF-8.  OTA_ERR_INVALID for any broken
 * bytes, also for strings with zero bytes inside and for bytes behind the end.  What is accepted encodes to the same bytes.
 */
OTA_MUST_USE enum ota_err event_decode(const uint8_t *record, size_t length, struct event *event);

/* The kind as the database and the log write it: "connected", ... ; "unknown" for anything else. */
const char *event_kind_name(enum event_kind kind);
