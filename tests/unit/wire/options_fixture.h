/*
 * options_fixture - options beside the two that must be given.
 *
 * Thread: the test's.  Each test program includes it once.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/options.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The two, and then up to two more. */
static inline enum ota_err parse(const char *key, const char *value, const char *key2,
	const char *value2, struct options *options, struct ota_why *why)
{
	const struct option_pair pairs[] = {
		{ "database", "postgresql:///ota" },
		{ "trusted_keys", "/etc/keys" },
		{ key, value },
		{ key2, value2 },
	};

	return options_parse(
		pairs, 2 + (size_t)(key != NULL) + (size_t)(key2 != NULL), false, options, why);
}

static inline struct options parse_good(const char *key, const char *value)
{
	struct options options;
	struct ota_why why = { { 0 } };

	if (parse(key, value, NULL, NULL, &options, &why) != OTA_OK) {
		fail_msg("%s: %s", key == NULL ? "nothing given" : key, why.text);
	}
	return options;
}
