/*
 * topic - topic templates such as "devices/{device}/ota/status", and the ids that may stand in them.
 *
 * Thread: any.  Templates own no memory outside themselves.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "ota/base/error.h"

enum {
	TOPIC_MAX = 512,
	TOPIC_ID_MAX = 128,
	TOPIC_TEMPLATES_MAX = 8
};

enum topic_placeholder {
	TOPIC_DEVICE = 0, /* {device} */
	TOPIC_FLEET,      /* {fleet} */
};

/* Which placeholders an option takes; a refusal names these and no others. */
enum topic_takes {
	TOPIC_TAKES_DEVICE = 0,
	TOPIC_TAKES_EITHER,
};

/* A topic with exactly one placeholder, which stands for one whole topic level. */
struct topic_template {
	enum topic_placeholder placeholder;
	size_t prefix_len;
	size_t suffix_len;
	char prefix[TOPIC_MAX];
	char suffix[TOPIC_MAX];
};

/* The value of a placeholder in a matched topic: a part of the topic, not terminated. */
struct topic_value {
	const char *text;
	size_t length;
};

/*
 * Parse a template.  Refused with a reason: no placeholder or two, one that is only part of a level, another name in
 * braces than `takes` says, wildcards, a leading '$', empty, longer than TOPIC_MAX - 1 bytes, invalid UTF-8, control characters.
 * `topic` is set only on OTA_OK; `why` may be NULL.
 */
OTA_MUST_USE enum ota_err topic_template_parse(
	const char *text, enum topic_takes takes, struct topic_template *topic, struct ota_why *why);

/*
 * Does `topic` (terminated) match, with a valid id in the placeholder's place?  This is the hot path: a foreign topic is
 * refused after comparing its first bytes.
 */
OTA_MUST_USE bool topic_match(
	const struct topic_template *pattern, const char *topic, struct topic_value *value);

/*
 * Same shape as the template, whatever stands in the placeholder's place (also an invalid id, also '+' in a filter):
 * for refusing what only looks like ours.  A '#' or '+' elsewhere in the filter is no match, nor is a topic that begins with '$'
 * (no wildcard reaches it: MQTT 5.0, section 4.7.2).  With topic_id_valid() of `*value` it is topic_match().
 */
OTA_MUST_USE bool topic_match_shape(
	const struct topic_template *pattern, const char *topic, struct topic_value *value);

/* Is the value this text?  NULL: no. */
static inline bool topic_value_is(const struct topic_value *value, const char *text)
{
	return text != NULL && strlen(text) == value->length
		&& memcmp(text, value->text, value->length) == 0;
}

/* Write the topic, terminated, with `value` in the placeholder's place.  OTA_ERR_INVALID: invalid id or too long for `size`. */
OTA_MUST_USE enum ota_err topic_render(
	const struct topic_template *topic, const char *value, char *out, size_t size);

/*
 * May this be a device or fleet name: 1..TOPIC_ID_MAX bytes of valid UTF-8 without '/', '+', '#', control characters
 * (U+0000..U+001F, U+007F..U+009F), non-characters, not beginning with '$'?
 */
OTA_MUST_USE bool topic_id_valid(const char *text, size_t length);

/* Is it well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates)?  Also refuses U+0000. */
OTA_MUST_USE bool topic_utf8_valid(const char *text, size_t length);
