/*
 * release - decide whether a submitted release may be used: signatures, then manifest, then agreement with its row.
 *
 * Thread: any (the store thread does it, once a release and keyring).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/wire/keyring.h"
#include "ota/wire/manifest.h"

enum signature_policy {
	SIGNATURE_POLICY_MANIFEST = 0, /* a DSSE envelope is needed */
	SIGNATURE_POLICY_ARTIFACT,     /* a detached signature over the file is needed */
	SIGNATURE_POLICY_BOTH,
};

/* A row of ota.release as the database tells it: nothing here is trusted. */
struct release_unverified {
	int64_t release_id;
	const char *version;
	int64_t sequence;
	const char *url;
	const char *sha256;
	int64_t size;
	const char *release_notes; /* NULL: none */
	const char *envelope;      /* JSON text, NULL: none */
	const uint8_t *signature;  /* over the file, NULL: none */
	size_t signature_length;
};

/* A verified release; everything comes from verified bytes.  Immutable; free with release_free(). */
struct release {
	int64_t release_id;
	struct manifest *manifest;
	char *envelope;         /* compact JSON for the notice, NULL: none */
	char *signature_base64; /* NULL: none */
	char *signed_by;        /* descriptions of the keys, comma separated */
	char *key_fingerprint;  /* keyring_fingerprint() of the ring that verified it */
};

/*
 * Verify a release against the policy.  With an envelope the manifest comes from its verified payload and every column must
 * agree with it; without one (policy artifact) from the columns, whose SHA-256 the artifact signature covers.
 * When both are there both must verify, whatever the policy.  `threshold` (1..16) counts the manifest's distinct keys; an artifact
 * signature is one signature of one key.  What an artifact signature covers is the file alone: under policy artifact the database
 * is trusted for version, sequence and URL, which is why the default asks for a manifest.
 * OTA_ERR_DENIED with a reason that starts with the attack or defect in the field's words (RFC 9124, TUF), e.g. "arbitrary software:
 * no trusted key signed the manifest", "mix-and-match: column url says ...", "broken manifest: ...".  OTA_ERR_NOMEM.
 * Expiry is not looked at: that is for the moment of delivery (eligibility.h).
 */
OTA_MUST_USE enum ota_err release_verify(const struct release_unverified *row,
	const struct keyring *keyring, enum signature_policy policy, size_t threshold,
	struct release **release, struct ota_why *why);
void release_free(struct release *release);
