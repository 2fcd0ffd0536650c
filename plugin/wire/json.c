#include "ota/wire/json.h"

#include <string.h>

#include "ota/base/hex.h"
#include "ota/wire/topic.h"

#include "json_names.h"
#include "json_number.h"

struct reader {
	const char *text;
	size_t length;
	size_t at;
	size_t values;
	int depth_left;
	int depth_max;
	bool blanks;
	bool exponents;
	struct json_room *room; /* NULL: everything is allocated */
	struct ota_why *why;
};

static enum ota_err read_value(struct reader *reader, cJSON *item);

static enum ota_err refuse(struct reader *reader, const char *reason)
{
	ota_why_set(reader->why, "JSON: %s at byte %zu", reason, reader->at + 1);
	return OTA_ERR_INVALID;
}

/* The next character, or -1 at the end. */
static int peek(const struct reader *reader)
{
	return reader->at < reader->length ? (unsigned char)reader->text[reader->at] : -1;
}

static void skip_blanks(struct reader *reader)
{
	while (reader->at < reader->length
		&& (reader->text[reader->at] == ' ' || reader->text[reader->at] == '\t'
			|| reader->text[reader->at] == '\r' || reader->text[reader->at] == '\n')) {
		reader->at++;
		reader->blanks = true;
	}
}

/* A new value, null so far. */
static enum ota_err new_item(struct reader *reader, cJSON **item)
{
	struct json_room *room = reader->room;

	if (!room) {
		*item = cJSON_CreateNull();
		return *item ? OTA_OK : OTA_ERR_NOMEM;
	}
	if (room->items_used == JSON_ROOM_ITEMS) {
		return OTA_ERR_FULL;
	}
	*item = &room->items[room->items_used++];
	memset(*item, 0, sizeof(**item));
	(*item)->type = cJSON_NULL;
	return OTA_OK;
}

/* As cJSON_AddItemToArray() does; the first one's prev is the last one. */
static void append_item(cJSON *parent, cJSON *item)
{
	if (parent->child) {
		cJSON *last = parent->child->prev;

		last->next = item;
		item->prev = last;
		parent->child->prev = item;
	} else {
		parent->child = item;
		item->prev = item;
	}
}

static enum ota_err new_bytes(struct reader *reader, size_t size, char **bytes)
{
	struct json_room *room = reader->room;

	if (!room) {
		*bytes = cJSON_malloc(size);
		return *bytes ? OTA_OK : OTA_ERR_NOMEM;
	}
	if (size > JSON_ROOM_BYTES - room->bytes_used) {
		return OTA_ERR_FULL;
	}
	*bytes = room->bytes + room->bytes_used;
	room->bytes_used += size;
	return OTA_OK;
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

/* Four hex digits; -1: not there. */
static long read_hex4(struct reader *reader)
{
	long value = 0;

	for (int i = 0; i < 4; i++) {
		int digit = hex_digit((char)peek(reader));

		if (digit < 0) {
			return -1;
		}
		value = value * 16 + digit;
		reader->at++;
	}
	return value;
}

static char *put_utf8(char *out, unsigned long code)
{
	if (code < 0x80) {
		*out++ = (char)code;
	} else if (code < 0x800) {
		*out++ = (char)(0xC0 | (code >> 6));
		*out++ = (char)(0x80 | (code & 0x3F));
	} else if (code < 0x10000) {
		*out++ = (char)(0xE0 | (code >> 12));
		*out++ = (char)(0x80 | ((code >> 6) & 0x3F));
		*out++ = (char)(0x80 | (code & 0x3F));
	} else {
		*out++ = (char)(0xF0 | (code >> 18));
		*out++ = (char)(0x80 | ((code >> 12) & 0x3F));
		*out++ = (char)(0x80 | ((code >> 6) & 0x3F));
		*out++ = (char)(0x80 | (code & 0x3F));
	}
	return out;
}

/* The four hex digits after "\u", and the low surrogate's escape where they are a high one. */
static enum ota_err read_unicode_escape(struct reader *reader, char **out)
{
	long code = read_hex4(reader);
	long low = 0;

	if (code < 0) {
		return refuse(reader, "\\u without four hex digits");
	}
	if (code == 0) {
		return refuse(reader, "U+0000 in a string");
	}
	if (code >= 0xDC00 && code <= 0xDFFF) {
		return refuse(reader, "lone low surrogate");
	}
	if (code >= 0xD800 && code <= 0xDBFF) {
		if (peek(reader) != '\\' || reader->length - reader->at < 6
			|| reader->text[reader->at + 1] != 'u') {
			return refuse(reader, "lone high surrogate");
		}
		reader->at += 2;
		low = read_hex4(reader);
		if (low < 0xDC00 || low > 0xDFFF) {
			return refuse(reader, "lone high surrogate");
		}
		code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
	}
	*out = put_utf8(*out, (unsigned long)code);
	return OTA_OK;
}

static enum ota_err read_escape(struct reader *reader, char **out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	int c = peek(reader);
	const char *found = c > 0 ? strchr(from, c) : NULL;

	if (c == 'u') {
		reader->at++;
		return read_unicode_escape(reader, out);
	}
	if (!found) {
		return refuse(reader, "unknown escape in a string");
	}
	*(*out)++ = to[found - from];
	reader->at++;
	return OTA_OK;
}

/* The bytes up to the closing quote, quotes of escapes skipped; an upper bound of the decoded length. */
static size_t string_span(const struct reader *reader)
{
	size_t at = reader->at;

	while (at < reader->length && reader->text[at] != '"') {
		at += reader->text[at] == '\\' ? 2 : 1;
	}
	return (at < reader->length ? at : reader->length) - reader->at;
}

/* How many bytes from here stand for themselves: most of a string, and often all of it. */
static size_t plain_run(const struct reader *reader)
{
	size_t at = reader->at;

	while (at < reader->length && (unsigned char)reader->text[at] >= 0x20 && reader->text[at] != '"'
		&& reader->text[at] != '\\') {
		at++;
	}
	return at - reader->at;
}

/* Does the string end so many bytes from here? */
static bool is_quote(const struct reader *reader, size_t run)
{
	return run < reader->length - reader->at && reader->text[reader->at + run] == '"';
}

/* A string, `at` on its opening quote; `*string` is cJSON_malloc'ed, or the room's. */
static enum ota_err read_string(struct reader *reader, char **string)
{
	enum ota_err err = OTA_OK;
	char *decoded = NULL;
	char *out = NULL;
	size_t run = 0;

	reader->at++;
	run = plain_run(reader);
	/* An escape never decodes to more bytes than it has, so the span is room enough. */
	err = new_bytes(reader, (is_quote(reader, run) ? run : string_span(reader)) + 1, &decoded);
	if (err) {
		return err;
	}
	out = decoded;
	for (;;) {
		int c = 0;

		memcpy(out, reader->text + reader->at, run);
		out += run;
		reader->at += run;
		c = peek(reader);
		if (c == '"') {
			break;
		}
		if (c < 0) {
			err = refuse(reader, "string without an end");
		} else if (c < 0x20) {
			err = refuse(reader, "control character in a string");
		} else {
			reader->at++; /* a backslash */
			err = read_escape(reader, &out);
		}
		if (err) {
			break;
		}
		run = plain_run(reader);
	}
	if (err) {
		if (!reader->room) {
			cJSON_free(decoded);
		}
		return err;
	}
	reader->at++;
	*out = '\0';
	*string = decoded;
	return OTA_OK;
}

static enum ota_err read_number(struct reader *reader, cJSON *item)
{
	size_t length = 0;
	const char *reason =
		json_number_read(reader->text + reader->at, reader->length - reader->at, item, &length);

	if (reason) {
		return refuse(reader, reason);
	}
	for (size_t i = 0; i < length; i++) {
		reader->exponents = reader->exponents || (reader->text[reader->at + i] | 0x20) == 'e';
	}
	reader->at += length;
	return OTA_OK;
}

/* First writer wins or last writer wins?  Readers differ, so nobody may write twice. */
static enum ota_err check_duplicates(struct reader *reader, const cJSON *object, size_t members)
{
	char shown[JSON_DESCRIBE_SIZE];
	const char *name = NULL;
	enum ota_err err = json_names_duplicate(object, members, &name);

	if (err == OTA_ERR_INVALID) {
		ota_why_set(reader->why, "JSON: member %s more than once in an object",
			json_describe_text(name, shown));
	}
	return err;
}

/* The name and colon of a member, into a new item that is linked to the object at once. */
static enum ota_err read_name(struct reader *reader, cJSON *item)
{
	enum ota_err err = OTA_OK;

	if (peek(reader) != '"') {
		return refuse(reader, "member without a name");
	}
	err = read_string(reader, &item->string);
	if (err) {
		return err;
	}
	skip_blanks(reader);
	if (peek(reader) != ':') {
		return refuse(reader, "member without a colon");
	}
	reader->at++;
	skip_blanks(reader);
	return OTA_OK;
}

/* The elements of an array or the members of an object, `at` on the opening bracket. */
static enum ota_err read_elements(struct reader *reader, cJSON *parent, bool object)
{
	const int end = object ? '}' : ']';
	enum ota_err err = OTA_OK;
	size_t count = 0;

	parent->type = object ? cJSON_Object : cJSON_Array;
	reader->at++;
	skip_blanks(reader);
	while (peek(reader) != end) {
		cJSON *item = NULL;

		if (count > 0) {
			if (peek(reader) != ',') {
				return refuse(reader,
					object ? "no comma or closing brace after a member"
						   : "no comma or closing bracket after an element");
			}
			reader->at++;
			skip_blanks(reader);
		}
		err = new_item(reader, &item);
		if (err) {
			return err;
		}
		append_item(parent, item);
		err = object ? read_name(reader, item) : OTA_OK;
		if (!err) {
			err = read_value(reader, item);
		}
		if (err) {
			return err;
		}
		count++;
		skip_blanks(reader);
	}
	reader->at++;
	return object ? check_duplicates(reader, parent, count) : OTA_OK;
}

static enum ota_err read_nested(struct reader *reader, cJSON *item, bool object)
{
	enum ota_err err = OTA_OK;

	if (reader->depth_left == 0) {
		ota_why_set(reader->why, "JSON: nested deeper than %d levels", reader->depth_max);
		return OTA_ERR_INVALID;
	}
	reader->depth_left--;
	err = read_elements(reader, item, object);
	reader->depth_left++;
	return err;
}

static enum ota_err read_word(struct reader *reader, cJSON *item)
{
	static const struct {
		const char *word;
		size_t length;
		int type;
	} words[] = {
		{ "true", 4, cJSON_True },
		{ "false", 5, cJSON_False },
		{ "null", 4, cJSON_NULL },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (reader->length - reader->at >= words[i].length
			&& memcmp(reader->text + reader->at, words[i].word, words[i].length) == 0) {
			reader->at += words[i].length;
			item->type = words[i].type;
			return OTA_OK;
		}
	}
	return refuse(reader, "no value");
}

/* One value, into an item that is linked already (so that a failure frees it with the tree). */
static enum ota_err read_value(struct reader *reader, cJSON *item)
{
	enum ota_err err = OTA_OK;
	int c = peek(reader);

	if (++reader->values > JSON_VALUES_MAX) {
		return refuse(reader, "more than 16384 values");
	}
	if (c == '{' || c == '[') {
		return read_nested(reader, item, c == '{');
	}
	if (c == '"') {
		err = read_string(reader, &item->valuestring);
		item->type = err ? item->type : cJSON_String;
		return err;
	}
	if (c == '-' || is_digit(c)) {
		return read_number(reader, item);
	}
	return read_word(reader, item);
}

/* The tree, all of which is in `*tree` at any moment, also on an error. */
static enum ota_err read_text(struct reader *reader, cJSON **tree)
{
	struct ota_why *why = reader->why;
	enum ota_err err = OTA_OK;

	if (!reader->text || reader->length == 0) {
		ota_why_set(why, "JSON: empty, an object is needed");
		return OTA_ERR_INVALID;
	}
	if (reader->depth_max < 1 || reader->depth_max > JSON_DEPTH_LIMIT) {
		ota_why_set(
			why, "JSON: depth limit %d is not in 1..%d", reader->depth_max, JSON_DEPTH_LIMIT);
		return OTA_ERR_INVALID;
	}
	if (!topic_utf8_valid(reader->text, reader->length)) {
		ota_why_set(why, "JSON: not valid UTF-8, or a zero byte in it");
		return OTA_ERR_INVALID;
	}
	skip_blanks(reader);
	if (peek(reader) != '{') {
		return refuse(reader, "no object");
	}
	err = new_item(reader, tree);
	err = err ? err : read_value(reader, *tree);
	if (!err) {
		skip_blanks(reader);
		if (reader->at != reader->length) {
			err = refuse(reader, "something after the object");
		}
	}
	return err;
}

enum ota_err json_parse_object(
	const char *text, size_t length, int depth_max, cJSON **root, struct ota_why *why)
{
	struct reader reader = {
		.text = text, .length = length, .depth_left = depth_max, .depth_max = depth_max, .why = why
	};
	cJSON *tree = NULL;
	enum ota_err err = read_text(&reader, &tree);

	if (err) {
		cJSON_Delete(tree);
		return err;
	}
	*root = tree;
	return OTA_OK;
}

enum ota_err json_parse_object_in(struct json_room *room, const char *text, size_t length,
	int depth_max, cJSON **root, struct ota_why *why)
{
	struct reader reader = { .text = text,
		.length = length,
		.depth_left = depth_max,
		.depth_max = depth_max,
		.room = room,
		.why = why };
	cJSON *tree = NULL;
	enum ota_err err;

	room->items_used = 0;
	room->bytes_used = 0;
	err = read_text(&reader, &tree);
	if (!err) {
		room->plain = !reader.blanks && !reader.exponents;
		*root = tree;
	}
	return err;
}
