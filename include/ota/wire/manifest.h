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

enum {
	MANIFEST_SIZE_MAX = 131072, /* bytes of JSON */
	MANIFEST_DEPTH_MAX = 8,
	MANIFEST_LIST_MAX = 64,  /* elements of hardware and of fleets */
	MANIFEST_NAME_MAX = 128, /* bytes of one of them */
	MANIFEST_URL_MAX = 2048,
	MANIFEST_NOTES_MAX = 16384,
};

/* Read-only; all its strings belong to it. */
struct manifest {
	struct release_terms terms; /* points into this manifest */
	const char *url;
	char sha256[65];           /* lower-case hex */
	int64_t size;              /* bytes, 1 .. JSON_INTEGER_MAX */
	const char *release_notes; /* NULL: none */
	const char *json;          /* the verified bytes, terminated */
};

/*
 * Parse the bytes of a manifest (those that were verified): strict JSON object, duplicate members and trailing bytes refused, unknown
 * members ignored, but not those that differ from a known one by letter case only (many devices read names whatever their case).
 * OTA_ERR_INVALID: the reason names the member, its value and what is accepted; OTA_ERR_NOMEM.  `*manifest` is the caller's.
 */
OTA_MUST_USE enum ota_err manifest_parse(
	const char *json, size_t length, struct manifest **manifest, struct ota_why *why);

/*
 * A manifest for a release without an envelope (signature_policy artifact), from its columns; same checks, same errors.  `json` is
 * then the manifest as it would have been written.  NULL for `release_notes`: none; NULL for another text is refused.
 */
OTA_MUST_USE enum ota_err manifest_from_columns(const char *version, int64_t sequence,
	const char *url, const char *sha256, int64_t size, const char *release_notes,
	struct manifest **manifest, struct ota_why *why);

void manifest_free(struct manifest *manifest);
