#include "ota/wire/status.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "ota/wire/json.h"

/* No device means a longer wait than a year; it also keeps seconds x 1000 far from overflow. */
static const double retry_after_max_s = 52.0 * 604800.0;

/* Largest exponent of a double; PostgreSQL's numeric takes more, but not everything. */
enum {
	EXPONENT_MAX = 308
};

static const char statuses_accepted[] =
	"one of IDLE DOWNLOADING VERIFYING APPLYING REBOOTING SUCCESS"
	" FAILED ROLLED_BACK REJECTED DEFERRED";

/* The member, NULL when it is absent or null: a device that has nothing to say often says null. */
static const cJSON *given(const cJSON *root, const char *name)
{
	const cJSON *item = json_member(root, name);

	return cJSON_IsNull(item) ? NULL : item;
}

static enum ota_err refuse(
	struct ota_why *why, const char *name, const cJSON *item, const char *accepted)
{
	char shown[JSON_DESCRIBE_SIZE];

	ota_why_set(
		why, "status report: %s is %s, accepted is %s", name, json_describe(item, shown), accepted);
	return OTA_ERR_INVALID;
}

/*
 * How many bytes the control character at `text` has (U+0001..U+001F, U+007F..U+009F); 0: it is none.
 * The text is known to be UTF-8.
 */
static size_t control_length(const char *text)
{
	unsigned char first = (unsigned char)text[0];

	if (first < 0x20 || first == 0x7f) {
		return 1;
	}
	/* 0x80..0x9f follow 0xc2 for U+0080..U+009F only. */
	return first == 0xc2 && (unsigned char)text[1] < 0xa0 ? 2 : 0;
}

static bool has_control(const char *text)
{
	for (; *text; text++) {
		if (control_length(text) > 0) {
			return true;
		}
	}
	return false;
}

/* Copy at most STATUS_TEXT_MAX bytes, whole characters only, '?' for each byte of a control character. */
static void copy_cut(char *out, const char *text)
{
	size_t length = strnlen(text, STATUS_TEXT_MAX + 1);

	if (length > STATUS_TEXT_MAX) {
		length = STATUS_TEXT_MAX;
		while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) {
			length--;
		}
	}
	memcpy(out, text, length);
	out[length] = '\0';
	for (size_t i = 0; i < length; i++) {
		size_t bytes = control_length(out + i);

		if (bytes > 0) {
			memset(out + i, '?', bytes);
		}
	}
}

/* A version as devices in the field write them, which need not be Semantic Versioning. */
static enum ota_err read_version(
	const cJSON *root, const char *name, char out[VERSION_MAX + 1], struct ota_why *why)
{
	const cJSON *item = given(root, name);
	size_t length;

	if (!item) {
		return OTA_OK;
	}
	length = cJSON_IsString(item) ? strlen(item->valuestring) : 0;
	if (length < 1 || length > VERSION_MAX || has_control(item->valuestring)) {
		return refuse(why, name, item, "text of 1 to 64 bytes without control characters");
	}
	memcpy(out, item->valuestring, length + 1);
	return OTA_OK;
}

static enum ota_err read_status(const cJSON *root, enum report_status *status, struct ota_why *why)
{
	const cJSON *item = given(root, "status");

	if (!item
		|| (cJSON_IsString(item)
			&& report_status_parse(item->valuestring, strlen(item->valuestring), status))) {
		return OTA_OK;
	}
	return refuse(why, "status", item, statuses_accepted);
}

/* Text that is only shown or compared: cut rather than refused, and numbers are text too. */
static enum ota_err read_text(
	const cJSON *root, const char *name, char out[STATUS_TEXT_MAX + 1], struct ota_why *why)
{
	const cJSON *item = given(root, name);
	char number[32];

	if (!item) {
		return OTA_OK;
	}
	if (cJSON_IsNumber(item)) {
		/* 17 digits tell any two doubles apart, and write integers up to 2^53 in full. */
		(void)snprintf(number, sizeof(number), "%.17g", item->valuedouble);
		copy_cut(out, number);
	} else if (cJSON_IsString(item)) {
		copy_cut(out, item->valuestring);
	} else {
		return refuse(why, name, item, "text or a number");
	}
	return OTA_OK;
}

/* Not cut, because releases are matched by it: a cut name could be another model's. */
static enum ota_err read_hardware(
	const cJSON *root, char out[STATUS_TEXT_MAX + 1], struct ota_why *why)
{
	const cJSON *item = given(root, "hardware");

	if (!item) {
		return OTA_OK;
	}
	if (!cJSON_IsString(item) || strlen(item->valuestring) > STATUS_TEXT_MAX
		|| has_control(item->valuestring)) {
		return refuse(why, "hardware", item, "text of up to 63 bytes without control characters");
	}
	copy_cut(out, item->valuestring);
	return OTA_OK;
}

static enum ota_err read_numbers(
	const cJSON *root, struct status_report *report, struct ota_why *why)
{
	const cJSON *progress = given(root, "progress");
	const cJSON *retry_after = given(root, "retryAfter");
	int64_t attempt = 0;

	if (progress) {
		if (!cJSON_IsNumber(progress)
			|| !(progress->valuedouble >= 0.0 && progress->valuedouble <= 100.0)) {
			return refuse(why, "progress", progress, "a number from 0 to 100");
		}
		report->progress = (int32_t)progress->valuedouble;
	}
	if (given(root, "attempt")) {
		if (json_integer(root, "attempt", 0, INT32_MAX, &attempt, NULL) != OTA_OK) {
			return refuse(
				why, "attempt", given(root, "attempt"), "an integer from 0 to 2147483647");
		}
		report->attempt = (int32_t)attempt;
	}
	if (retry_after) {
		double seconds = retry_after->valuedouble;

		if (!cJSON_IsNumber(retry_after) || !(seconds >= 0.0)) {
			return refuse(why, "retryAfter", retry_after, "a number of seconds from 0 on");
		}
		seconds = seconds < retry_after_max_s ? seconds : retry_after_max_s;
		report->retry_after_ms = (int64_t)(seconds * 1000.0);
	}
	return OTA_OK;
}

static enum ota_err read_members(
	const cJSON *root, struct status_report *report, struct ota_why *why)
{
	enum ota_err err;

	if ((err = read_version(root, "version", report->version, why)) != OTA_OK
		|| (err = read_version(root, "previousVersion", report->previous_version, why)) != OTA_OK
		|| (err = read_status(root, &report->status, why)) != OTA_OK
		|| (err = read_text(root, "error", report->error, why)) != OTA_OK
		|| (err = read_text(root, "bootId", report->boot_id, why)) != OTA_OK
		|| (err = read_text(root, "slot", report->slot, why)) != OTA_OK
		|| (err = read_hardware(root, report->hardware, why)) != OTA_OK
		|| (err = read_numbers(root, report, why)) != OTA_OK) {
		return err;
	}
	return OTA_OK;
}

/*
 * Is the exponent at `text` (what follows the 'e') one that PostgreSQL's numeric surely takes?  1e-99999 is zero to us, but
 * numeric has no place for its digits, and one such number would make a whole batch fail.
 */
static bool exponent_fits(const char *text, const char *end)
{
	int exponent = 0;

	if (text < end && (*text == '-' || *text == '+')) {
		text++;
	}
	for (; text < end && *text >= '0' && *text <= '9'; text++) {
		exponent = exponent * 10 + (*text - '0');
		if (exponent > EXPONENT_MAX) {
			return false;
		}
	}
	return true;
}

/*
 * Copy valid JSON without the blanks between its parts.  The device's own words and digits are kept: printing the parsed tree would
 * round integers above 15 digits, such as times in microseconds.
 */
static enum ota_err compact(
	const char *text, size_t length, bool plain, struct status_report *report, struct ota_why *why)
{
	const char *end = text + length;
	char *out = malloc(length + 1);

	if (!out) {
		ota_why_set(why, "status report: out of memory");
		return OTA_ERR_NOMEM;
	}
	report->json = out;
	if (plain) { /* as most devices write it */
		memcpy(out, text, length);
		out[length] = '\0';
		report->json_length = length;
		return OTA_OK;
	}
	for (const char *at = text; at < end; at++) {
		if (*at == '"') { /* most of a report is in strings, and valid ones end */
			const char *begin = at++;

			while (*at != '"') {
				at += *at == '\\' ? 2 : 1; /* an escaped quote ends no string */
			}
			memcpy(out, begin, (size_t)(at - begin) + 1);
			out += at - begin + 1;
			continue;
		}
		if (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n') {
			continue;
		}
		if ((*at == 'e' || *at == 'E') && at[-1] >= '0' && at[-1] <= '9'
			&& !exponent_fits(at + 1, end)) {
			ota_why_set(why, "status report: a number has a large exponent, accepted are -%d to %d",
				EXPONENT_MAX, EXPONENT_MAX);
			return OTA_ERR_INVALID;
		}
		*out++ = *at;
	}
	*out = '\0';
	report->json_length = (size_t)(out - report->json);
	return OTA_OK;
}

/* IDLE and SUCCESS say what runs; the others say what happens, which is worth knowing even without a version. */
static enum ota_err check_version(const struct status_report *report, struct ota_why *why)
{
	if ((report->status != REPORT_IDLE && report->status != REPORT_SUCCESS) || report->version[0]) {
		return OTA_OK;
	}
	ota_why_set(why, "status report: version is missing, %s needs the version that is running now",
		report_status_name(report->status));
	return OTA_ERR_INVALID;
}

enum ota_err status_report_parse(
	const void *payload, size_t length, struct status_report *report, struct ota_why *why)
{
	struct status_report found = { .status = REPORT_IDLE, .progress = -1 };
	struct json_room room;
	cJSON *large = NULL; /* a tree for which the room is too small */
	cJSON *root = NULL;
	bool plain = false;
	enum ota_err err;

	if (length > STATUS_PAYLOAD_MAX) {
		ota_why_set(why, "status report has %zu bytes, accepted are at most %d", length,
			STATUS_PAYLOAD_MAX);
		return OTA_ERR_FULL;
	}
	if (length == 0) {
		ota_why_set(why, "status report is empty, accepted is a JSON object");
		return OTA_ERR_INVALID;
	}
	err = json_parse_object_in(&room, payload, length, STATUS_DEPTH_MAX, &root, why);
	if (err == OTA_OK) {
		plain = room.plain;
	} else if (err == OTA_ERR_FULL) {
		err = json_parse_object(payload, length, STATUS_DEPTH_MAX, &large, why);
		root = large;
	}
	if (err == OTA_OK) {
		err = read_members(root, &found, why);
	}
	if (err == OTA_OK) {
		err = compact(payload, length, plain, &found, why);
	}
	if (err == OTA_OK) {
		err = check_version(&found, why);
	}
	if (err == OTA_OK) {
		*report = found;
	} else {
		free(found.json);
	}
	cJSON_Delete(large);
	return err;
}

void status_report_free(struct status_report *report)
{
	if (report) {
		free(report->json);
		report->json = NULL;
		report->json_length = 0;
	}
}
