/*
 * version - Semantic Versioning 2.0.0: validity and precedence.
 *
 * Pure: no allocation.  Thread: any.
 * Source: https://semver.org/spec/v2.0.0.html, items 2, 9, 10 and 11.
 */
#pragma once

#include <stdbool.h>

#include "ota/base/error.h"

/* Longest version text that is accepted anywhere, in bytes without the terminating zero. */
enum {
	VERSION_MAX = 64
};

/* Is `text` a Semantic Version of at most VERSION_MAX bytes?  A leading "v" is not one, nor is NULL. */
OTA_MUST_USE bool version_valid(const char *text);

/*
 * Precedence of two valid versions: below 0, 0, above 0.  Build metadata does not count (item 10).
 * Numbers of any length are compared without overflow.  Both must be valid.
 */
OTA_MUST_USE int version_compare(const char *left, const char *right);
