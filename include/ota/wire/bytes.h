/*
 * bytes - what records on disk are made of: little-endian integers, and strings that are terminated where they lie.
 *
 * Thread: any; pure.
 */
#pragma once

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ota/base/error.h"

/* The `size` low bytes of the value, 1..8.  Here, because with a known size each is one instruction. */
static inline void bytes_put_integer(uint8_t *out, uint64_t value, size_t size)
{
	const uint64_t little = htole64(value);

	memcpy(out, &little, size);
}

static inline uint64_t bytes_get_integer(const uint8_t *in, size_t size)
{
	uint64_t little = 0;

	memcpy(&little, in, size);
	return le64toh(little);
}

/*
 * Read the string at `*at` <= `length`: its length as an integer of `prefix` bytes, its bytes, a zero byte.  `*text` points into
 * `record`, and `*at` moves behind it.  OTA_ERR_INVALID, and nothing is set: it does not fit, is not terminated, is not UTF-8 or has a
 * zero byte inside.
 */
OTA_MUST_USE enum ota_err bytes_get_string(
	const uint8_t *record, size_t length, size_t prefix, size_t *at, const char **text);
