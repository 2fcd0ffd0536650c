#include "ota/wire/warm.h"

#include <string.h>

#include "ota/wire/bytes.h"
#include "ota/wire/topic.h"

/*
 * A record, all integers little-endian:
 *
 *   u8 kind | u8 flags | u16 strings, as bits | i64 of each of warm_numbers[] | then for each string that is there:
 *   u32 length | bytes | a zero byte
 *
 * The zero bytes make C strings of the record's own memory.  Nothing follows the last one.
 */
enum {
	FLAG_GONE = 1,
	FLAG_LIVE = 2,
	HEAD_SIZE = 4,
	STRING_PREFIX = 4,
	STRING_OVERHEAD = STRING_PREFIX + 1,
};

static const size_t warm_numbers[] = {
	offsetof(struct warm_record, id),
	offsetof(struct warm_record, release_id),
	offsetof(struct warm_record, attempt),
	offsetof(struct warm_record, sequence),
	offsetof(struct warm_record, size),
	offsetof(struct warm_record, at_ms),
};

static const size_t warm_strings[] = {
	offsetof(struct warm_record, device),
	offsetof(struct warm_record, topic),
	offsetof(struct warm_record, fleet),
	offsetof(struct warm_record, hardware),
	offsetof(struct warm_record, via),
	offsetof(struct warm_record, version),
	offsetof(struct warm_record, stage),
	offsetof(struct warm_record, url),
	offsetof(struct warm_record, sha256),
	offsetof(struct warm_record, notes),
	offsetof(struct warm_record, signature),
	offsetof(struct warm_record, text),
};

enum {
	NUMBERS = sizeof(warm_numbers) / sizeof(warm_numbers[0]),
	STRINGS = sizeof(warm_strings) / sizeof(warm_strings[0]),
	FIXED_SIZE = HEAD_SIZE + 8 * NUMBERS,
};

_Static_assert(STRINGS <= 16, "a bit each");

static const char *string_of(const struct warm_record *record, size_t n)
{
	const char *text;

	memcpy(&text, (const char *)record + warm_strings[n], sizeof(text));
	return text;
}

size_t warm_size(const struct warm_record *record)
{
	size_t size = FIXED_SIZE;

	for (size_t i = 0; i < STRINGS; i++) {
		const char *text = string_of(record, i);

		size += text ? strlen(text) + STRING_OVERHEAD : 0;
	}
	return size;
}

void warm_encode(const struct warm_record *record, uint8_t *out)
{
	uint16_t there = 0;
	uint8_t *at = out + HEAD_SIZE;

	out[0] = (uint8_t)record->kind;
	out[1] = (uint8_t)((record->gone ? FLAG_GONE : 0) | (record->live ? FLAG_LIVE : 0));
	for (size_t i = 0; i < NUMBERS; i++) {
		int64_t value;

		memcpy(&value, (const char *)record + warm_numbers[i], sizeof(value));
		bytes_put_integer(at, (uint64_t)value, 8);
		at += 8;
	}
	for (size_t i = 0; i < STRINGS; i++) {
		const char *text = string_of(record, i);
		size_t length = text ? strlen(text) : 0;

		if (!text) {
			continue;
		}
		there |= (uint16_t)(1U << i);
		bytes_put_integer(at, length, STRING_PREFIX);
		memcpy(at + STRING_PREFIX, text, length + 1);
		at += length + STRING_OVERHEAD;
	}
	bytes_put_integer(out + 2, there, 2);
}

/* Has the record what its kind needs? */
static bool is_complete(const struct warm_record *record)
{
	switch (record->kind) {
	case WARM_OWNER:
		return !record->gone && record->device && record->topic;
	case WARM_CONTACT:
		return !record->gone && record->at_ms > 0;
	case WARM_GATEWAYS:
	case WARM_URLS:
		return !record->gone && record->text;
	case WARM_RELEASE:
		return record->id > 0
			&& (record->gone || (record->version && record->url && record->sha256));
	case WARM_ROLLOUT:
		return record->id > 0 && record->at_ms >= 0;
	case WARM_CLAIM:
		return record->device && topic_id_valid(record->device, strlen(record->device))
			&& (record->gone
				|| (record->id > 0 && record->release_id > 0 && record->attempt > 0
					&& record->attempt <= INT32_MAX && record->fleet));
	}
	return false;
}

enum ota_err warm_decode(const uint8_t *bytes, size_t length, struct warm_record *record)
{
	struct warm_record found = { 0 };
	size_t at = HEAD_SIZE;
	uint64_t there;

	if (length < FIXED_SIZE || length > WARM_RECORD_MAX || bytes[0] < WARM_OWNER
		|| bytes[0] > WARM_KIND_MAX || (bytes[1] & ~(FLAG_GONE | FLAG_LIVE)) != 0) {
		return OTA_ERR_INVALID;
	}
	found.kind = (enum warm_kind)bytes[0];
	found.gone = (bytes[1] & FLAG_GONE) != 0;
	found.live = (bytes[1] & FLAG_LIVE) != 0;
	there = bytes_get_integer(bytes + 2, 2);
	if (there >> STRINGS) {
		return OTA_ERR_INVALID;
	}
	for (size_t i = 0; i < NUMBERS; i++) {
		int64_t value = (int64_t)bytes_get_integer(bytes + at, 8);

		memcpy((char *)&found + warm_numbers[i], &value, sizeof(value));
		at += 8;
	}
	for (size_t i = 0; i < STRINGS; i++) {
		const char *text;

		if (!(there >> i & 1)) {
			continue;
		}
		if (bytes_get_string(bytes, length, STRING_PREFIX, &at, &text) != OTA_OK) {
			return OTA_ERR_INVALID;
		}
		memcpy((char *)&found + warm_strings[i], &text, sizeof(text));
	}
	if (at != length || !is_complete(&found)) {
		return OTA_ERR_INVALID;
	}
	*record = found;
	return OTA_OK;
}
