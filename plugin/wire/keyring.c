#include "ota/wire/keyring.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "keyfile.h"

enum {
	SHA256_SIZE = 32,
	SIGNATURE_MAX = 2048
};

struct key {
	EVP_PKEY *key;
	enum keyfile_algorithm algorithm;
	char keyid[KEYRING_KEYID_SIZE];
	char *file;
	char *description;
};

struct keyring {
	struct key keys[KEYRING_KEYS_MAX];
	size_t count;
	char fingerprint[KEYRING_KEYID_SIZE];
};

struct loader {
	struct keyring *ring;
	keyring_notice_fn notice;
	void *context;
};

static void tell(const struct loader *loader, const char *file, const char *reason)
{
	if (loader->notice) {
		loader->notice(loader->context, file, reason);
	}
}

static int is_key_file(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return entry->d_name[0] != '.' && length > 4
		&& (strcmp(entry->d_name + length - 4, ".pem") == 0
			|| strcmp(entry->d_name + length - 4, ".pub") == 0);
}

/* By bytes, whatever the locale: the same directory is read in the same order everywhere. */
static int by_name(const struct dirent **left, const struct dirent **right)
{
	return strcmp((*left)->d_name, (*right)->d_name);
}

static int by_keyid(const void *left, const void *right)
{
	const struct key *a = left;
	const struct key *b = right;

	return strcmp(a->keyid, b->keyid);
}

/*
 * The same key again?  Compared as keys, not as key ids: one point of a curve has two encodings, and a key that counted twice would
 * meet a threshold of two alone.
 */
static const struct key *find_same(const struct keyring *ring, const EVP_PKEY *key)
{
	for (size_t i = 0; i < ring->count; i++) {
		if (EVP_PKEY_eq(ring->keys[i].key, key) == 1) {
			return &ring->keys[i];
		}
	}
	return NULL;
}

/* Add one file's key, or tell why not.  Only a lack of memory is an error. */
static enum ota_err add_file(struct loader *loader, int directory, const char *name)
{
	struct keyring *ring = loader->ring;
	struct keyfile file = { 0 };
	char reason[KEYFILE_REASON_SIZE] = "";
	const struct key *same = NULL;
	struct key *key = NULL;

	if (!keyfile_read(directory, name, &file, reason)) {
		tell(loader, name, reason);
		return OTA_OK;
	}
	same = find_same(ring, file.key);
	if (same || ring->count == KEYRING_KEYS_MAX) {
		(void)snprintf(reason, sizeof(reason), "%s%s",
			same ? "the same key as in " : "more than 256 keys in the directory",
			same ? same->file : "");
		tell(loader, name, reason);
		EVP_PKEY_free(file.key);
		return OTA_OK;
	}
	key = &ring->keys[ring->count++];
	key->key = file.key;
	key->algorithm = file.algorithm;
	memcpy(key->keyid, file.keyid, sizeof(key->keyid));
	key->file = strdup(name);
	if (!key->file || asprintf(&key->description, "%s (%s)", name, file.kind) < 0) {
		key->description = NULL;
		return OTA_ERR_NOMEM;
	}
	return OTA_OK;
}

static bool make_fingerprint(struct keyring *ring)
{
	char keyids[KEYRING_KEYS_MAX * KEYRING_KEYID_SIZE];

	for (size_t i = 0; i < ring->count; i++) {
		memcpy(keyids + i * KEYRING_KEYID_SIZE, ring->keys[i].keyid, KEYRING_KEYID_SIZE);
	}
	return keyfile_hex_digest(keyids, ring->count * KEYRING_KEYID_SIZE, ring->fingerprint);
}

static enum ota_err refuse_directory(const char *directory, int error, struct ota_why *why)
{
	const char *words = strerrordesc_np(error);

	ota_why_set(why, "key directory \"%.160s\" cannot be read: %s", directory,
		words ? words : "unknown system error");
	return error == ENOENT || error == ENOTDIR ? OTA_ERR_NOT_FOUND
		: error == ENOMEM                      ? OTA_ERR_NOMEM
											   : OTA_ERR_IO;
}

static enum ota_err load_files(
	struct loader *loader, int directory, struct dirent **names, int count)
{
	enum ota_err err = OTA_OK;

	for (int i = 0; i < count && !err; i++) {
		err = add_file(loader, directory, names[i]->d_name);
	}
	if (err || loader->ring->count == 0) {
		return err;
	}
	qsort(loader->ring->keys, loader->ring->count, sizeof(loader->ring->keys[0]), by_keyid);
	return make_fingerprint(loader->ring) ? OTA_OK : OTA_ERR_NOMEM;
}

enum ota_err keyring_load(const char *directory, keyring_notice_fn notice, void *context,
	struct keyring **keyring, struct ota_why *why)
{
	struct loader loader = { .notice = notice, .context = context };
	enum ota_err err = OTA_ERR_INVALID;
	struct dirent **names = NULL;
	int count = 0;
	int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (folder < 0) {
		return refuse_directory(directory, errno, why);
	}
	(void)ERR_set_mark();
	count = scandirat(folder, ".", &names, is_key_file, by_name);
	if (count < 0) {
		err = refuse_directory(directory, errno, why);
		goto out;
	}
	loader.ring = calloc(1, sizeof(*loader.ring));
	err = loader.ring ? load_files(&loader, folder, names, count) : OTA_ERR_NOMEM;
	if (!err && loader.ring->count == 0) {
		ota_why_set(why,
			"key directory \"%.160s\" has no usable key; accepted are *.pem and *.pub files with one "
			"PEM public key",
			directory);
		err = OTA_ERR_INVALID;
	}
out:
	for (int i = 0; i < count; i++) {
		free(names[i]);
	}
	free(names);
	(void)close(folder);
	(void)ERR_pop_to_mark();
	if (err) {
		keyring_free(loader.ring);
	} else {
		*keyring = loader.ring;
	}
	return err;
}

enum ota_err keyring_none(struct keyring **keyring)
{
	struct keyring *ring = calloc(1, sizeof(*ring));

	if (!ring || !make_fingerprint(ring)) {
		free(ring);
		return OTA_ERR_NOMEM;
	}
	*keyring = ring;
	return OTA_OK;
}

bool keyring_directory_open(const char *directory)
{
	struct stat status;

	/* With the sticky bit, too: a new file is enough. */
	return stat(directory, &status) == 0 && S_ISDIR(status.st_mode)
		&& (status.st_mode & S_IWOTH) != 0;
}

void keyring_free(struct keyring *keyring)
{
	if (!keyring) {
		return;
	}
	for (size_t i = 0; i < keyring->count; i++) {
		EVP_PKEY_free(keyring->keys[i].key);
		free(keyring->keys[i].file);
		free(keyring->keys[i].description);
	}
	free(keyring);
}

size_t keyring_count(const struct keyring *keyring)
{
	return keyring->count;
}

const char *keyring_keyid(const struct keyring *keyring, size_t index)
{
	return keyring->keys[index].keyid;
}

const char *keyring_description(const struct keyring *keyring, size_t index)
{
	return keyring->keys[index].description;
}

const char *keyring_fingerprint(const struct keyring *keyring)
{
	return keyring->fingerprint;
}

bool keyring_signs_digests(const struct keyring *keyring, size_t index)
{
	return index < keyring->count && keyring->keys[index].algorithm != KEYFILE_ED25519;
}

/* One way of checking a signature over a SHA-256 digest; `padding` counts for RSA only. */
static bool verify_with(EVP_PKEY *key, int padding, const uint8_t digest[SHA256_SIZE],
	const uint8_t *signature, size_t signature_length)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	bool valid = false;

	if (!context || EVP_PKEY_verify_init(context) != 1) {
		goto out;
	}
	if (padding != 0 && EVP_PKEY_CTX_set_rsa_padding(context, padding) != 1) {
		goto out;
	}
	if (EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) != 1) {
		goto out;
	}
	if (padding == RSA_PKCS1_PSS_PADDING
		&& (EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) != 1
			|| EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_AUTO) != 1)) {
		goto out;
	}
	valid = EVP_PKEY_verify(context, signature, signature_length, digest, SHA256_SIZE) == 1;
out:
	EVP_PKEY_CTX_free(context);
	return valid;
}

bool keyring_verify_digest(const struct keyring *keyring, size_t index, const uint8_t digest[32],
	const uint8_t *signature, size_t signature_length)
{
	bool valid = false;
	EVP_PKEY *key = NULL;

	if (index >= keyring->count || !signature || signature_length == 0
		|| signature_length > SIGNATURE_MAX) {
		return false;
	}
	key = keyring->keys[index].key;
	(void)ERR_set_mark();
	switch (keyring->keys[index].algorithm) {
	case KEYFILE_RSA:
		valid = verify_with(key, RSA_PKCS1_PADDING, digest, signature, signature_length)
			|| verify_with(key, RSA_PKCS1_PSS_PADDING, digest, signature, signature_length);
		break;
	case KEYFILE_ECDSA:
		valid = verify_with(key, 0, digest, signature, signature_length);
		break;
	case KEYFILE_ED25519:
	default:
		break;
	}
	(void)ERR_pop_to_mark();
	return valid;
}

static bool verify_ed25519(EVP_PKEY *key, const uint8_t *message, size_t message_length,
	const uint8_t *signature, size_t signature_length)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool valid = context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1
		&& EVP_DigestVerify(context, signature, signature_length, message, message_length) == 1;

	EVP_MD_CTX_free(context);
	return valid;
}

bool keyring_verify(const struct keyring *keyring, size_t index, const uint8_t *message,
	size_t message_length, const uint8_t *signature, size_t signature_length)
{
	uint8_t digest[SHA256_SIZE];
	bool valid = false;

	if (index >= keyring->count || !signature || signature_length == 0
		|| signature_length > SIGNATURE_MAX) {
		return false;
	}
	(void)ERR_set_mark();
	if (keyring->keys[index].algorithm == KEYFILE_ED25519) {
		valid = verify_ed25519(
			keyring->keys[index].key, message, message_length, signature, signature_length);
	} else if (EVP_Digest(message, message_length, digest, NULL, EVP_sha256(), NULL) == 1) {
		valid = keyring_verify_digest(keyring, index, digest, signature, signature_length);
	}
	(void)ERR_pop_to_mark();
	return valid;
}
