#include "ota/wire/event.h"

#include <stdbool.h>
#include <string.h>

#include "ota/wire/bytes.h"
#include "ota/wire/topic.h"

/*
 * A record, all integers little-endian:
 *
 *   u8 magic | u8 layout | u8 kind | u8 status | u32 flags | i64 at_ms | i64 session | i64 rollout | i64 retry_after_ms |
 *   i32 attempt | then for each string of event_strings[]: u16 length | bytes | a zero byte
 *
 * The zero bytes make C strings of the record's own memory.  Nothing follows the last one.
 */
enum {
	EVENT_MAGIC = 0xe7,
	EVENT_LAYOUT = 1,
	EVENT_FLAGS_KNOWN = EVENT_FLAG_IF_KNOWN | EVENT_FLAG_VIA
};
enum {
	AT_MAGIC = 0,
	AT_LAYOUT = 1,
	AT_KIND = 2,
	AT_STATUS = 3,
	AT_FLAGS = 4,
	AT_TIME = 8,
	AT_SESSION = 16,
	AT_ROLLOUT = 24,
	AT_RETRY_AFTER = 32,
	AT_ATTEMPT = 40,
	EVENT_HEAD_SIZE = 44,
	EVENT_STRING_PREFIX = 2,
	EVENT_STRING_OVERHEAD = EVENT_STRING_PREFIX + 1,
};

/* The order of the strings in a record.  A new layout number is needed to change it. */
static const size_t event_strings[] = {
	offsetof(struct event, device),
	offsetof(struct event, client),
	offsetof(struct event, fleet),
	offsetof(struct event, topic),
	offsetof(struct event, version),
	offsetof(struct event, hardware),
	offsetof(struct event, error),
	offsetof(struct event, text),
	offsetof(struct event, json),
};
enum {
	EVENT_STRINGS = sizeof(event_strings) / sizeof(event_strings[0])
};

static bool event_fixed_valid(uint64_t kind, uint64_t status, uint64_t flags)
{
	return kind >= EVENT_CONNECTED && kind <= EVENT_KIND_MAX && status < REPORT_STATUS_COUNT
		&& (flags & ~(uint64_t)EVENT_FLAGS_KNOWN) == 0;
}

/*
 * Copy text, with a '?' for each byte of it that is not UTF-8: PostgreSQL would refuse the whole batch for it,
 * and a reason that was cut in the middle of a character is still worth keeping.
 */
static void string_copy(uint8_t *out, const char *text, size_t length)
{
	size_t at = 0;

	if (topic_utf8_valid(text, length)) {
		memcpy(out, text, length);
		return;
	}
	while (at < length) {
		size_t bytes = 1;

		while (bytes < 4 && bytes < length - at && !topic_utf8_valid(text + at, bytes)) {
			bytes++;
		}
		if (topic_utf8_valid(text + at, bytes)) {
			memcpy(out + at, text + at, bytes);
			at += bytes;
		} else {
			out[at++] = '?';
		}
	}
}

enum ota_err event_encode(const struct event *event, uint8_t *out, size_t size, size_t *length)
{
	size_t room = size < EVENT_RECORD_MAX ? size : EVENT_RECORD_MAX;
	size_t used = EVENT_HEAD_SIZE;

	if (!event_fixed_valid(
			(uint64_t)event->kind, (uint64_t)event->status, (uint32_t)event->flags)) {
		return OTA_ERR_INVALID;
	}
	if (room < used) {
		return OTA_ERR_FULL;
	}
	out[AT_MAGIC] = EVENT_MAGIC;
	out[AT_LAYOUT] = EVENT_LAYOUT;
	out[AT_KIND] = (uint8_t)event->kind;
	out[AT_STATUS] = (uint8_t)event->status;
	bytes_put_integer(out + AT_FLAGS, (uint32_t)event->flags, 4);
	bytes_put_integer(out + AT_TIME, (uint64_t)event->at_ms, 8);
	bytes_put_integer(out + AT_SESSION, (uint64_t)event->session, 8);
	bytes_put_integer(out + AT_ROLLOUT, (uint64_t)event->rollout, 8);
	bytes_put_integer(out + AT_RETRY_AFTER, (uint64_t)event->retry_after_ms, 8);
	bytes_put_integer(out + AT_ATTEMPT, (uint32_t)event->attempt, 4);

	for (size_t i = 0; i < EVENT_STRINGS; i++) {
		const char *text;
		size_t bytes;

		memcpy(&text, (const char *)event + event_strings[i], sizeof(text));
		/* Most are empty. */
		bytes = text == NULL || *text == '\0' ? 0 : strnlen(text, EVENT_RECORD_MAX);
		if (bytes + EVENT_STRING_OVERHEAD > room - used) {
			return OTA_ERR_FULL;
		}
		bytes_put_integer(out + used, bytes, EVENT_STRING_PREFIX);
		used += EVENT_STRING_PREFIX;
		if (bytes > 0) {
			string_copy(out + used, text, bytes);
		}
		used += bytes;
		out[used++] = 0;
	}
	*length = used;
	return OTA_OK;
}

enum ota_err event_decode(const uint8_t *record, size_t length, struct event *event)
{
	struct event found = { 0 };
	size_t at = EVENT_HEAD_SIZE;

	if (length < EVENT_HEAD_SIZE || length > EVENT_RECORD_MAX || record[AT_MAGIC] != EVENT_MAGIC
		|| record[AT_LAYOUT] != EVENT_LAYOUT
		|| !event_fixed_valid(
			record[AT_KIND], record[AT_STATUS], bytes_get_integer(record + AT_FLAGS, 4))) {
		return OTA_ERR_INVALID;
	}
	found.kind = (enum event_kind)record[AT_KIND];
	found.status = (enum report_status)record[AT_STATUS];
	found.flags = (int32_t)(uint32_t)bytes_get_integer(record + AT_FLAGS, 4);
	found.at_ms = (int64_t)bytes_get_integer(record + AT_TIME, 8);
	found.session = (int64_t)bytes_get_integer(record + AT_SESSION, 8);
	found.rollout = (int64_t)bytes_get_integer(record + AT_ROLLOUT, 8);
	found.retry_after_ms = (int64_t)bytes_get_integer(record + AT_RETRY_AFTER, 8);
	found.attempt = (int32_t)(uint32_t)bytes_get_integer(record + AT_ATTEMPT, 4);

	for (size_t i = 0; i < EVENT_STRINGS; i++) {
		const char *text;

		if (bytes_get_string(record, length, EVENT_STRING_PREFIX, &at, &text) != OTA_OK) {
			return OTA_ERR_INVALID;
		}
		memcpy((char *)&found + event_strings[i], &text, sizeof(text));
	}
	if (at != length) {
		return OTA_ERR_INVALID;
	}
	*event = found;
	return OTA_OK;
}

const char *event_kind_name(enum event_kind kind)
{
	static const char *const names[] = {
		[EVENT_CONNECTED] = "connected",
		[EVENT_DISCONNECTED] = "disconnected",
		[EVENT_LISTENING] = "listening",
		[EVENT_REPORT] = "report",
		[EVENT_MALFORMED] = "malformed",
		[EVENT_DENIED] = "denied",
		[EVENT_UNDELIVERED] = "undelivered",
		[EVENT_TOLD] = "told",
	};

	if (kind < EVENT_CONNECTED || kind > EVENT_KIND_MAX) {
		return "unknown";
	}
	return names[kind];
}
