/*
 * keyring - the trusted public keys of a directory, and verifying with them.
 *
 * Thread: loading any; verifying from several threads at once is fine (keys are read-only afterwards).  No function leaves anything
 * in the thread's OpenSSL error queue, from which the broker reads its TLS results.
 * Ownership: the caller owns the ring; strings of it live as long as it does.
 * Source: keyid is the hex SHA-256 of the DER SubjectPublicKeyInfo.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

enum {
	KEYRING_KEYS_MAX = 256,
	KEYRING_KEYID_SIZE = 65,
	KEYRING_FILE_MAX = 65536
};

struct keyring;

/* Told for each file that is not used, with the reason; `context` is the caller's. */
typedef void (*keyring_notice_fn)(void *context, const char *file, const char *reason);

/*
 * Load every *.pem and *.pub file of `directory` (PEM SubjectPublicKeyInfo, one key a file, hidden files aside): RSA of 2048 to 8192
 * bits, ECDSA on P-256 or P-384, Ed25519.  Weak or unknown keys, files with a private key or with more than one PEM object, and keys that
 * another file has already brought are left out and told to `notice` (may be NULL).  Sorted by key id.
 * OTA_ERR_NOT_FOUND: no such directory; OTA_ERR_IO: not readable; OTA_ERR_INVALID: no usable key in it; OTA_ERR_NOMEM.
 * Free with keyring_free().
 */
OTA_MUST_USE enum ota_err keyring_load(const char *directory, keyring_notice_fn notice,
	void *context, struct keyring **keyring, struct ota_why *why);
/* A keyring that trusts nobody: nothing verifies with it.  OTA_ERR_NOMEM. */
OTA_MUST_USE enum ota_err keyring_none(struct keyring **keyring);
void keyring_free(struct keyring *keyring);

/* May users other than the owner and the group of `directory` put files there?  False also when that cannot be seen. */
OTA_MUST_USE bool keyring_directory_open(const char *directory);

size_t keyring_count(const struct keyring *keyring);
/* The key id (hex, KEYRING_KEYID_SIZE with the zero) and a description such as "release-2026.pem (ECDSA P-256)". */
const char *keyring_keyid(const struct keyring *keyring, size_t index);
const char *keyring_description(const struct keyring *keyring, size_t index);
/* A fingerprint over all key ids: two keyrings with the same keys have the same one (64 hex digits). */
const char *keyring_fingerprint(const struct keyring *keyring);

/*
 * Does `signature` over `message` verify with key `index`?  RSA: PKCS#1 v1.5 or PSS with SHA-256; ECDSA: DER, with SHA-256 (P-256 and
 * P-384); Ed25519: pure.  False for everything else, also on an internal error.
 */
OTA_MUST_USE bool keyring_verify(const struct keyring *keyring, size_t index,
	const uint8_t *message, size_t message_length, const uint8_t *signature,
	size_t signature_length);

/*
 * The same for a message of which only the SHA-256 digest (32 bytes) is at hand, as with `openssl dgst -sha256 -sign`.
 * Ed25519 keys never verify a digest of somebody else's choice: false.
 */
OTA_MUST_USE bool keyring_verify_digest(const struct keyring *keyring, size_t index,
	const uint8_t digest[32], const uint8_t *signature, size_t signature_length);

/* Can this key sign a digest (RSA, ECDSA), or only whole messages (Ed25519: false)? */
OTA_MUST_USE bool keyring_signs_digests(const struct keyring *keyring, size_t index);
