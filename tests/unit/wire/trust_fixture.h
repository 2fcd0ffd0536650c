/*
 * trust_fixture - keys, key directories and signatures for the tests of the trust chain, made when the test runs.
 *
 * Every function fails the test when it cannot do its work.
 */
#pragma once

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "ota/wire/base64.h"
#include "ota/wire/dsse.h"
#include "ota/wire/keyring.h"

enum fixture_signature {
	FIXTURE_PLAIN = 0,
	FIXTURE_PSS
};

struct fixture_directory {
	char path[64];
};

struct fixture_bytes {
	uint8_t bytes[1100];
	size_t length;
};

static inline struct fixture_directory fixture_directory_make(void)
{
	struct fixture_directory directory = { "/tmp/ota-keys-XXXXXX" };

	assert_non_null(mkdtemp(directory.path));
	return directory;
}

static inline void fixture_directory_remove(const struct fixture_directory *directory)
{
	DIR *stream = opendir(directory->path);
	const struct dirent *entry = NULL;

	assert_non_null(stream);
	while ((entry = readdir(stream)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
			assert_int_equal(unlinkat(dirfd(stream), entry->d_name, 0), 0);
		}
	}
	(void)closedir(stream);
	assert_int_equal(rmdir(directory->path), 0);
}

static inline const char *fixture_path(
	const struct fixture_directory *directory, const char *name, char out[512])
{
	assert_in_range(snprintf(out, 512, "%s/%s", directory->path, name), 1, 511);
	return out;
}

static inline void fixture_write(
	const struct fixture_directory *directory, const char *name, const void *bytes, size_t length)
{
	char path[512];
	FILE *file = fopen(fixture_path(directory, name, path), "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
}

static inline EVP_PKEY *fixture_rsa(unsigned bits)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);

	assert_non_null(key);
	return key;
}

static inline EVP_PKEY *fixture_ec(const char *curve)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve);

	assert_non_null(key);
	return key;
}

static inline EVP_PKEY *fixture_ed25519(void)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	assert_non_null(key);
	return key;
}

static inline void fixture_write_public(
	const struct fixture_directory *directory, const char *name, EVP_PKEY *key)
{
	char path[512];
	FILE *file = fopen(fixture_path(directory, name, path), "wb");

	assert_non_null(file);
	assert_int_equal(PEM_write_PUBKEY(file, key), 1);
	assert_int_equal(fclose(file), 0);
}

static inline void fixture_write_private(
	const struct fixture_directory *directory, const char *name, EVP_PKEY *key)
{
	char path[512];
	FILE *file = fopen(fixture_path(directory, name, path), "wb");

	assert_non_null(file);
	assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(file), 0);
}

/* Sign a message: Ed25519 pure, the others with SHA-256; PSS for RSA where asked. */
static inline struct fixture_bytes fixture_sign(
	EVP_PKEY *key, enum fixture_signature how, const void *message, size_t length)
{
	struct fixture_bytes signature = { .length = sizeof(signature.bytes) };
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *options = NULL;
	const EVP_MD *digest = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();

	assert_non_null(context);
	assert_int_equal(EVP_DigestSignInit(context, &options, digest, NULL, key), 1);
	if (how == FIXTURE_PSS) {
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING), 1);
	}
	assert_int_equal(
		EVP_DigestSign(context, signature.bytes, &signature.length, message, length), 1);
	EVP_MD_CTX_free(context);
	return signature;
}

/* An envelope over the payload, signed by these keys; malloc'ed. */
static inline char *fixture_envelope(
	const char *type, const char *payload, EVP_PKEY *const *keys, size_t count)
{
	size_t pae_length = 0;
	uint8_t *pae = dsse_pae(type, (const uint8_t *)payload, strlen(payload), &pae_length);
	char *body = base64_encode((const uint8_t *)payload, strlen(payload));
	size_t size = 0;
	char *text = NULL;
	FILE *stream = open_memstream(&text, &size);

	assert_true(pae && body && stream);
	(void)fprintf(
		stream, "{\"payloadType\":\"%s\",\"payload\":\"%s\",\"signatures\":[", type, body);
	for (size_t i = 0; i < count; i++) {
		struct fixture_bytes signature = fixture_sign(keys[i], FIXTURE_PLAIN, pae, pae_length);
		char *encoded = base64_encode(signature.bytes, signature.length);

		assert_non_null(encoded);
		(void)fprintf(
			stream, "%s{\"keyid\":\"hint-%zu\",\"sig\":\"%s\"}", i ? "," : "", i, encoded);
		free(encoded);
	}
	(void)fprintf(stream, "]}");
	assert_int_equal(fclose(stream), 0);
	free(body);
	free(pae);
	return text;
}

/* The ring of a directory with exactly these public keys. */
static inline struct keyring *fixture_keyring(EVP_PKEY *const *keys, size_t count)
{
	struct fixture_directory directory = fixture_directory_make();
	struct keyring *ring = NULL;
	struct ota_why why = { "" };

	for (size_t i = 0; i < count; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "key-%zu.pem", i);
		fixture_write_public(&directory, name, keys[i]);
	}
	assert_int_equal(keyring_load(directory.path, NULL, NULL, &ring, &why), OTA_OK);
	assert_int_equal(keyring_count(ring), count);
	fixture_directory_remove(&directory);
	return ring;
}
