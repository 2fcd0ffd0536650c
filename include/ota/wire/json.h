/*
 * json - strict reading of JSON objects, and escaping of text for writing them.
 *
 * The tree is cJSON's, the reading is ours: cJSON takes leading zeros, control characters in strings, numbers such as "-." and
 * trailing bytes, finds members whatever their letter case, cuts strings at U+0000 and writes a global on every parse.  Two
 * readers that see different things in the same signed bytes are an attack, so whatever RFC 8259 leaves open is refused here.
 * Thread: any; no globals.
 * Source: RFC 8259; I-JSON, RFC 7493 (no duplicate names, no lone surrogates).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "ota/base/error.h"

enum {
	JSON_DEPTH_LIMIT = 64,   /* no caller may ask for more: the reader recurses */
	JSON_VALUES_MAX = 16384, /* values in one text, so that memory stays bounded */
	JSON_NUMBER_MAX = 63,    /* characters of one number */
	/*
	 * Set in the `type` of a number whose text is exactly an integer within +-JSON_INTEGER_MAX.  cJSON itself looks at the low
	 * byte and at bits 8 and 9 only.
	 */
	JSON_EXACT_INTEGER = 1 << 16,
	JSON_DESCRIBE_SIZE = 96, /* room for json_describe() */
	JSON_ROOM_ITEMS = 32,
	JSON_ROOM_BYTES = 1024,
};

/* Largest integer that every JSON reader keeps exactly: 2^53 - 1 (RFC 7493, section 2.2). */
static const int64_t JSON_INTEGER_MAX = INT64_C(9007199254740991);

/*
 * Parse `length` bytes (no terminator needed) that hold exactly one object, with blanks around it at most.
 * `depth_max` 1..JSON_DEPTH_LIMIT: nested objects and arrays, the outermost counts as 1.
 * Refused (OTA_ERR_INVALID): broken UTF-8, U+0000 raw or as an escape, lone surrogates, duplicate names in any object, numbers
 * that are not finite or longer than JSON_NUMBER_MAX, more than JSON_VALUES_MAX values, anything after the object.
 * OTA_ERR_NOMEM.  `*root` is the caller's: cJSON_Delete().
 */
OTA_MUST_USE enum ota_err json_parse_object(
	const char *text, size_t length, int depth_max, cJSON **root, struct ota_why *why);

/* Where a small tree lives without being allocated; need not be cleared. */
struct json_room {
	size_t items_used;
	size_t bytes_used;
	bool plain; /* no blank stands between the parts of the text, and no number has an exponent */
	cJSON items[JSON_ROOM_ITEMS];
	char bytes[JSON_ROOM_BYTES]; /* of its strings */
};

/*
 * The same into `room`: `*root` is the room's, valid until it is used again, and not to be given to cJSON_Delete().
 * OTA_ERR_FULL: more than JSON_ROOM_ITEMS values or JSON_ROOM_BYTES of strings; nothing is known of the rest of the text then.
 */
OTA_MUST_USE enum ota_err json_parse_object_in(struct json_room *room, const char *text,
	size_t length, int depth_max, cJSON **root, struct ota_why *why);

/* The member of exactly this name (letter case counts), NULL: absent.  The object keeps it. */
const cJSON *json_member(const cJSON *object, const char *name);

/*
 * A member as text of at most `max` bytes (may be empty).  OTA_ERR_NOT_FOUND: absent; OTA_ERR_INVALID: something else than a string
 * (null too) or too long; the reason names the member, its value and what is accepted.  `*text` belongs to the object.
 */
OTA_MUST_USE enum ota_err json_text(
	const cJSON *object, const char *name, size_t max, const char **text, struct ota_why *why);

/*
 * A member as an integer in [min, max], both within +-JSON_INTEGER_MAX.  Only exact ones: 1.5, 1e400 and 2^53 + 1 are refused, also
 * fractions that a double would round to an integer; 1.0 and 1e3 are integers.  Only for trees of json_parse_object().
 * OTA_ERR_NOT_FOUND: absent; OTA_ERR_INVALID as above.
 */
OTA_MUST_USE enum ota_err json_integer(const cJSON *object, const char *name, int64_t min,
	int64_t max, int64_t *value, struct ota_why *why);

/* Write a value for a reason: short, printable ASCII, cut with "...": `"abc"`, `17`, `null`, `an object`.  Returns `out`. */
const char *json_describe(const cJSON *value, char out[JSON_DESCRIBE_SIZE]);

/* The same for plain text of unknown origin (NULL: `nothing`). */
const char *json_describe_text(const char *text, char out[JSON_DESCRIBE_SIZE]);

/* How many bytes `text` takes inside a JSON string, without the quotes.  `text` must be valid UTF-8. */
size_t json_escaped_length(const char *text);

/* Write those bytes (no quotes, no terminator); returns the end.  `out` must have room for json_escaped_length(). */
char *json_escape(const char *text, char *out);
