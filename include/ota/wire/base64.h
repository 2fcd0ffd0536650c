/*
 * base64 - RFC 4648 base64, standard and URL-safe alphabet.
 *
 * Thread: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

/*
 * Decode `length` characters of either alphabet (not both in one text), padded or not, no blanks or line ends; bits that are
 * cut off must be zero.  `*out` is allocated with malloc (one byte more than *out_length, zeroed); the caller frees it.
 */
OTA_MUST_USE enum ota_err base64_decode(
	const char *text, size_t length, uint8_t **out, size_t *out_length);

/* Encode with the standard alphabet and padding; malloc'ed, terminated; the caller frees it.  NULL: no memory. */
OTA_MUST_USE char *base64_encode(const uint8_t *data, size_t length);
