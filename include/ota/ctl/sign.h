/*
 * sign - signatures with a private key, and checking them as the broker does.
 *
 * Thread: main.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

struct signing_key;

/*
 * Load a private key (PEM; the passphrase is asked for on the terminal).  OTA_ERR_INVALID: none that a broker would trust, with the
 * reason.  Free with signing_key_free().
 */
OTA_MUST_USE enum ota_err signing_key_load(
	const char *path, struct signing_key **key, struct ota_why *why);
void signing_key_free(struct signing_key *key); /* NULL is fine */

/* Hex SHA-256 of the public half's DER SubjectPublicKeyInfo. */
const char *signing_key_id(const struct signing_key *key);

/* The ring with the public half alone: what a broker that trusts this key would verify with.  The key's own. */
const struct keyring *signing_key_ring(const struct signing_key *key);

/* Sign; *signature is malloc'ed.  RSA (PKCS#1 v1.5) and ECDSA with SHA-256, Ed25519 pure. */
OTA_MUST_USE enum ota_err signing_key_sign(const struct signing_key *key, const uint8_t *message,
	size_t length, uint8_t **signature, size_t *signature_length, struct ota_why *why);

/* Read a file of at most `max` bytes; malloc'ed, a zero byte follows. */
OTA_MUST_USE enum ota_err file_read(
	const char *path, size_t max, uint8_t **data, size_t *length, struct ota_why *why);

/*
 * Write a text and a line's end to a file: whole, or the file stays as it was; but a pipe, a device and what a symbolic link leads to
 * are written to directly.  A new file has the mode that umask() leaves of 0666.  Returns 0, or -1 with errno.
 */
OTA_MUST_USE int file_write(const char *path, const char *text);

/* SHA-256 in hex and length of a file of any size. */
OTA_MUST_USE enum ota_err file_digest(
	const char *path, char hex[65], int64_t *size, struct ota_why *why);
