#include "ota/ctl/sign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "ota/base/hex.h"
#include "ota/wire/keyring.h"

enum {
	CHUNK = 65536,
	PATH_SIZE = 256
};

struct signing_key {
	EVP_PKEY *key;
	struct keyring *ring;
};

static void keep_reason(void *context, const char *file, const char *reason)
{
	(void)file;
	ota_why_set(context, "%s", reason);
}

/* The loader of the broker reads folders: the same code decides here which keys are good. */
static enum ota_err make_ring(EVP_PKEY *key, struct keyring **ring, struct ota_why *why)
{
	char folder[] = "/tmp/mosquitto_ota.XXXXXX";
	char path[PATH_SIZE];
	struct ota_why reason = { "" };
	struct ota_why inner = { "" };
	FILE *file = NULL;
	enum ota_err err = OTA_ERR_IO;

	if (!mkdtemp(folder)) {
		ota_why_set(why, "no folder can be made in /tmp: %s", strerrordesc_np(errno));
		return OTA_ERR_IO;
	}
	(void)snprintf(path, sizeof(path), "%s/public.pem", folder);
	file = fopen(path, "w");
	if (file && PEM_write_PUBKEY(file, key) == 1 && fclose(file) == 0) {
		err = keyring_load(folder, keep_reason, &reason, ring, &inner);
		if (err) {
			ota_why_set(why, "%s", reason.text[0] ? reason.text : inner.text);
		}
	} else {
		ota_why_set(why, "the public half cannot be written to %s", path);
	}
	(void)unlink(path);
	(void)rmdir(folder);
	return err;
}

enum ota_err signing_key_load(const char *path, struct signing_key **out, struct ota_why *why)
{
	struct signing_key *key = calloc(1, sizeof(*key));
	struct ota_why inner = { "" };
	FILE *file = fopen(path, "r");
	enum ota_err err = OTA_ERR_NOMEM;

	if (!file) {
		ota_why_set(why, "cannot read the key %s: %s", path, strerrordesc_np(errno));
		free(key);
		return OTA_ERR_IO;
	}
	if (key) {
		ERR_clear_error();
		key->key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
		err = key->key ? make_ring(key->key, &key->ring, &inner) : OTA_ERR_INVALID;
	}
	(void)fclose(file);
	if (err) {
		ota_why_set(why, "%s cannot sign: %s", path,
			inner.text[0] ? inner.text : "it is no private key in PEM, or the passphrase is wrong");
		signing_key_free(key);
		return err;
	}
	*out = key;
	return OTA_OK;
}

void signing_key_free(struct signing_key *key)
{
	if (key) {
		EVP_PKEY_free(key->key);
		keyring_free(key->ring);
		free(key);
	}
}

const char *signing_key_id(const struct signing_key *key)
{
	return keyring_keyid(key->ring, 0);
}

const struct keyring *signing_key_ring(const struct signing_key *key)
{
	return key->ring;
}

enum ota_err signing_key_sign(const struct signing_key *key, const uint8_t *message, size_t length,
	uint8_t **signature, size_t *signature_length, struct ota_why *why)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	const EVP_MD *digest = EVP_PKEY_get_base_id(key->key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
	uint8_t *bytes = NULL;
	size_t size = 0;
	enum ota_err err = OTA_ERR_INVALID;

	if (context && EVP_DigestSignInit(context, NULL, digest, NULL, key->key) == 1
		&& EVP_DigestSign(context, NULL, &size, message, length) == 1
		&& (bytes = malloc(size)) != NULL
		&& EVP_DigestSign(context, bytes, &size, message, length) == 1) {
		*signature = bytes;
		*signature_length = size;
		bytes = NULL;
		err = OTA_OK;
	} else {
		ota_why_set(why, "OpenSSL cannot sign with this key");
	}
	free(bytes);
	EVP_MD_CTX_free(context);
	return err;
}

enum ota_err file_read(
	const char *path, size_t max, uint8_t **data, size_t *length, struct ota_why *why)
{
	uint8_t *bytes = malloc(max + 2);
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
	size_t size = 0;
	enum ota_err err = OTA_ERR_IO;

	if (!file) {
		ota_why_set(why, "cannot read %s: %s", path, strerrordesc_np(errno));
	} else if (!bytes) {
		ota_why_set(why, "out of memory");
		err = OTA_ERR_NOMEM;
	} else {
		size = fread(bytes, 1, max + 1, file);
		if (ferror(file)) {
			ota_why_set(why, "cannot read %s: %s", path, strerrordesc_np(errno));
		} else if (size > max) {
			ota_why_set(why, "%s has more than %zu bytes", path, max);
			err = OTA_ERR_INVALID;
		} else {
			bytes[size] = 0;
			*data = bytes;
			*length = size;
			bytes = NULL;
			err = OTA_OK;
		}
	}
	free(bytes);
	if (file && file != stdin) {
		(void)fclose(file);
	}
	return err;
}

/* A stream into a new file of that mode beside the one of that path.  NULL: errno says why not. */
static FILE *open_beside(const char *path, mode_t mode, char **name)
{
	FILE *file = NULL;
	int fd = -1;

	if (asprintf(name, "%s.XXXXXX", path) < 0) {
		*name = NULL;
		errno = ENOMEM;
		return NULL;
	}
	fd = mkstemp(*name);
	if (fd >= 0 && fchmod(fd, mode) == 0) {
		file = fdopen(fd, "w");
	}
	if (fd >= 0 && !file) {
		const int saved = errno;

		(void)close(fd);
		(void)unlink(*name);
		errno = saved;
	}
	return file;
}

int file_write(const char *path, const char *text)
{
	const mode_t mask = umask(0); /* there is no way to read it only */
	struct stat present;
	const bool there = lstat(path, &present) == 0;
	/* A pipe or a device is written to, and a link leads where its owner wants it. */
	const bool direct = there && !S_ISREG(present.st_mode);
	const mode_t mode = there ? present.st_mode & 0777 : 0666 & ~mask;
	char *name = NULL;
	FILE *file;
	int saved;
	bool good;

	(void)umask(mask);
	file = direct ? fopen(path, "w") : open_beside(path, mode, &name);
	saved = errno;
	good = file != NULL;
	if (good && (fprintf(file, "%s\n", text) < 0 || fflush(file) != 0)) {
		saved = errno;
		good = false;
	}
	if (good && !direct && fsync(fileno(file)) != 0) {
		saved = errno;
		good = false;
	}
	if (file && fclose(file) != 0 && good) {
		saved = errno;
		good = false;
	}
	if (good && !direct && rename(name, path) != 0) {
		saved = errno;
		good = false;
	}
	if (file && !direct && !good) {
		(void)unlink(name);
	}
	free(name);
	errno = saved;
	return good ? 0 : -1;
}

enum ota_err file_digest(const char *path, char hex[65], int64_t *size, struct ota_why *why)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t *chunk = malloc(CHUNK);
	FILE *file = fopen(path, "rb");
	uint8_t digest[EVP_MAX_MD_SIZE];
	size_t got = 0;
	int64_t total = 0;
	enum ota_err err = OTA_ERR_IO;

	if (!file) {
		ota_why_set(why, "cannot read %s: %s", path, strerrordesc_np(errno));
		goto out;
	}
	if (!context || !chunk || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
		ota_why_set(why, "out of memory");
		err = OTA_ERR_NOMEM;
		goto out;
	}
	while ((got = fread(chunk, 1, CHUNK, file)) > 0) {
		if (EVP_DigestUpdate(context, chunk, got) != 1) {
			ota_why_set(why, "OpenSSL cannot hash %s", path);
			goto out;
		}
		total += (int64_t)got;
	}
	if (ferror(file)) {
		ota_why_set(why, "cannot read %s: %s", path, strerrordesc_np(errno));
		goto out;
	}
	if (EVP_DigestFinal_ex(context, digest, NULL) != 1) {
		ota_why_set(why, "OpenSSL cannot hash %s", path);
		goto out;
	}
	hex_write(digest, 32, hex);
	*size = total;
	err = OTA_OK;
out:
	free(chunk);
	EVP_MD_CTX_free(context);
	if (file) {
		(void)fclose(file);
	}
	return err;
}
