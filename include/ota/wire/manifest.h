/*
 * manifest - the signed description of a release.
 *
 * Thread: any.  A manifest is one owned object; free it with manifest_free().
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/rules/eligibility.h"

enum { MANIFEST_LIST_MAX = 64, MANIFEST_URL_MAX = 2048, MANIFEST_NOTES_MAX = 16384 };

struct manifest {
	struct release_terms terms; /* points into this manifest */
	char *url;
	char sha256[65]; /* lower-case hex */
	int64_t size;    /* bytes, 1 .. 2^53 */
	char *release_notes; /* NULL: none */
	char *json;          /* the verified bytes, terminated */
};

/*
 * Parse the bytes of a manifest (those that were verified): strict JSON object, duplicate members and trailing bytes refused, unknown
 * members ignored.  Errors name the member, its value and what is accepted.  `*manifest` is malloc'ed.
 */
OTA_MUST_USE enum ota_err manifest_parse(
	const char *json, size_t length, struct manifest **manifest, struct ota_why *why);

/* A manifest for a release without an envelope (signature_policy artifact), from its columns; same checks. */
OTA_MUST_USE enum ota_err manifest_from_columns(const char *version, int64_t sequence, const char *url,
	const char *sha256, int64_t size, const char *release_notes, struct manifest **manifest,
	struct ota_why *why);

void manifest_free(struct manifest *manifest);
