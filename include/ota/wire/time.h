/*
 * time - RFC 3339 times as milliseconds since the Unix epoch.
 *
 * Thread: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

enum {
	TIME_TEXT_SIZE = sizeof("9999-12-31T23:59:59.999Z")
};

/* Parse an RFC 3339 date-time (section 5.6) with any offset; a leap second counts as the next second. */
OTA_MUST_USE enum ota_err time_parse_rfc3339(const char *text, int64_t *ms);

/* Write "2026-01-31T02:40:00Z" (whole seconds, UTC).  `out` holds TIME_TEXT_SIZE bytes.  Years 0..9999, clamped. */
void time_format_rfc3339(int64_t ms, char *out);
