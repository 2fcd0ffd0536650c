/*
 * keyfile - one public key from one PEM file; private to keyring.c.
 *
 * Thread: any.
 */
#pragma once

#include <stdbool.h>

#include <openssl/evp.h>

#include "ota/base/error.h"
#include "ota/wire/keyring.h"

enum {
	KEYFILE_REASON_SIZE = 200,
	KEYFILE_KIND_SIZE = 32
};

enum keyfile_algorithm {
	KEYFILE_RSA = 1,
	KEYFILE_ECDSA,
	KEYFILE_ED25519
};

struct keyfile {
	EVP_PKEY *key; /* the caller frees it */
	enum keyfile_algorithm algorithm;
	char kind[KEYFILE_KIND_SIZE]; /* "ECDSA P-256", "RSA 3072" */
	char keyid[KEYRING_KEYID_SIZE];
};

/*
 * Read the file `name` of the open directory; false: not usable, `reason` says why (KEYFILE_REASON_SIZE bytes).
 * Leaves the thread's OpenSSL error queue as it found it.
 */
OTA_MUST_USE bool keyfile_read(
	int directory, const char *name, struct keyfile *keyfile, char *reason);

/* SHA-256 as 64 hex digits and a zero; false: OpenSSL failed. */
OTA_MUST_USE bool keyfile_hex_digest(const void *data, size_t length, char out[KEYRING_KEYID_SIZE]);
