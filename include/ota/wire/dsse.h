/*
 * dsse - Dead Simple Signing Envelope, version 1.
 *
 * Thread: any.  A parsed envelope owns its memory: dsse_free().
 * Source: https://github.com/secure-systems-lab/dsse, protocol.md and envelope.md, v1.0.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/wire/keyring.h"

#define DSSE_MANIFEST_TYPE "application/vnd.mosquitto-ota.manifest+json"

enum {
	DSSE_ENVELOPE_MAX = 262144, /* bytes of JSON */
	DSSE_PAYLOAD_MAX = 131072,  /* bytes, decoded */
	DSSE_SIGNATURES_MAX = 16,
	DSSE_SIGNATURE_MAX = 2048, /* bytes, decoded */
	DSSE_KEYID_MAX = 256,
	DSSE_TYPE_MAX = 256,
};

struct dsse_signature {
	uint8_t *bytes;
	size_t length;
	char *keyid; /* only a hint, never trusted; NULL: none */
};

/* A parsed envelope; nothing in it is verified. */
struct dsse_unverified {
	char *payload_type;
	uint8_t *payload; /* decoded; one zero byte follows */
	size_t payload_length;
	struct dsse_signature signatures[DSSE_SIGNATURES_MAX];
	size_t signature_count;
};

/*
 * Parse an envelope of `length` bytes; unknown members are ignored, duplicate ones and trailing bytes refused.  Both base64 alphabets.
 * OTA_ERR_INVALID with the member and what is accepted; OTA_ERR_NOMEM.  Free with dsse_free() (after OTA_OK only; twice is fine).
 */
OTA_MUST_USE enum ota_err dsse_parse(
	const char *json, size_t length, struct dsse_unverified *envelope, struct ota_why *why);
void dsse_free(struct dsse_unverified *envelope);

/* The pre-authentication encoding PAE(type, body); malloc'ed.  NULL: no memory. */
OTA_MUST_USE uint8_t *dsse_pae(
	const char *payload_type, const uint8_t *body, size_t body_length, size_t *pae_length);

/*
 * Verify: how many *distinct* keys of the ring have signed.  OTA_OK when at least `threshold` (1..16) have and the type is
 * DSSE_MANIFEST_TYPE; `signed_by[i]` is then true for each key that signed (array of keyring_count() elements; may be NULL).
 * OTA_ERR_DENIED otherwise, with the reason.  OTA_ERR_NOMEM.
 */
OTA_MUST_USE enum ota_err dsse_verify(const struct dsse_unverified *envelope,
	const struct keyring *keyring, size_t threshold, _Bool *signed_by, struct ota_why *why);

/*
 * The envelope as compact JSON, standard base64 with padding, unknown members left out: what a device with a small decoder can read.
 * All signatures stay, also those of keys that only the device knows.  malloc'ed; NULL: no memory.
 */
OTA_MUST_USE char *dsse_render(const struct dsse_unverified *envelope);
