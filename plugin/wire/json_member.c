#include <stdio.h>
#include <string.h>

#include "ota/wire/json.h"

const cJSON *json_member(const cJSON *object, const char *name)
{
	/* cJSON's own search calls a function for each member, twice; most names differ in the first letter. */
	for (const cJSON *item = object ? object->child : NULL; item; item = item->next) {
		if (item->string && item->string[0] == name[0] && strcmp(item->string, name) == 0) {
			return item;
		}
	}
	return NULL;
}

static enum ota_err missing(const char *name, struct ota_why *why)
{
	ota_why_set(why, "member \"%s\" is missing", name);
	return OTA_ERR_NOT_FOUND;
}

enum ota_err json_text(
	const cJSON *object, const char *name, size_t max, const char **text, struct ota_why *why)
{
	const cJSON *item = json_member(object, name);
	char shown[JSON_DESCRIBE_SIZE];

	if (!item) {
		return missing(name, why);
	}
	if (!cJSON_IsString(item)) {
		ota_why_set(why, "member \"%s\" is %s; accepted is text", name, json_describe(item, shown));
		return OTA_ERR_INVALID;
	}
	if (strlen(item->valuestring) > max) {
		ota_why_set(why, "member \"%s\" is %s with %zu bytes; accepted are up to %zu", name,
			json_describe(item, shown), strlen(item->valuestring), max);
		return OTA_ERR_INVALID;
	}
	*text = item->valuestring;
	return OTA_OK;
}

enum ota_err json_integer(const cJSON *object, const char *name, int64_t min, int64_t max,
	int64_t *value, struct ota_why *why)
{
	const cJSON *item = json_member(object, name);
	char shown[JSON_DESCRIBE_SIZE];

	if (!item) {
		return missing(name, why);
	}
	if (!cJSON_IsNumber(item) || !(item->type & JSON_EXACT_INTEGER)
		|| (int64_t)item->valuedouble < min || (int64_t)item->valuedouble > max) {
		ota_why_set(why, "member \"%s\" is %s; accepted is an integer from %lld to %lld", name,
			json_describe(item, shown), (long long)min, (long long)max);
		return OTA_ERR_INVALID;
	}
	*value = (int64_t)item->valuedouble;
	return OTA_OK;
}

/* Printable ASCII into out[size], cut with "..."; anything else becomes '?', so that a log line stays one line. */
static void print_safe(const char *text, char *out, size_t size)
{
	size_t n = 0;

	while (text[n] != '\0' && n < size - 1) {
		unsigned char c = (unsigned char)text[n];

		out[n] = c >= 0x20 && c < 0x7F ? (char)c : '?';
		n++;
	}
	out[n] = '\0';
	if (text[n] != '\0') {
		memcpy(out + n - 3, "...", 3);
	}
}

const char *json_describe_text(const char *text, char out[JSON_DESCRIBE_SIZE])
{
	char safe[JSON_DESCRIBE_SIZE - 2];

	if (!text) {
		(void)snprintf(out, JSON_DESCRIBE_SIZE, "nothing");
		return out;
	}
	print_safe(text, safe, sizeof(safe));
	(void)snprintf(out, JSON_DESCRIBE_SIZE, "\"%s\"", safe);
	return out;
}

const char *json_describe(const cJSON *value, char out[JSON_DESCRIBE_SIZE])
{
	if (!value) {
		return json_describe_text(NULL, out);
	}
	switch (value->type & 0xFF) {
	case cJSON_String:
		return json_describe_text(value->valuestring, out);
	case cJSON_Number:
		(void)snprintf(out, JSON_DESCRIBE_SIZE, "%.17g", value->valuedouble);
		break;
	case cJSON_True:
	case cJSON_False:
		(void)snprintf(out, JSON_DESCRIBE_SIZE, "%s", cJSON_IsTrue(value) ? "true" : "false");
		break;
	case cJSON_Array:
		(void)snprintf(out, JSON_DESCRIBE_SIZE, "a list");
		break;
	case cJSON_Object:
		(void)snprintf(out, JSON_DESCRIBE_SIZE, "an object");
		break;
	default:
		(void)snprintf(out, JSON_DESCRIBE_SIZE, "null");
		break;
	}
	return out;
}

/* The letter of a two-character escape, 0: none. */
static char short_escape(unsigned char c)
{
	switch (c) {
	case '"':
	case '\\':
		return (char)c;
	case '\b':
		return 'b';
	case '\f':
		return 'f';
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	default:
		return 0;
	}
}

static bool needs_hex(unsigned char c)
{
	return c < 0x20 || c == 0x7F;
}

size_t json_escaped_length(const char *text)
{
	size_t length = 0;

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		length += short_escape(c) ? 2 : needs_hex(c) ? 6 : 1;
	}
	return length;
}

char *json_escape(const char *text, char *out)
{
	static const char hex[] = "0123456789abcdef";

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		char letter = short_escape(c);

		if (letter) {
			*out++ = '\\';
			*out++ = letter;
		} else if (needs_hex(c)) {
			memcpy(out, "\\u00", 4);
			out[4] = hex[c >> 4];
			out[5] = hex[c & 0x0F];
			out += 6;
		} else {
			*out++ = (char)c;
		}
	}
	return out;
}
