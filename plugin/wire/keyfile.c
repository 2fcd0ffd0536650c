#include "keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "ota/base/hex.h"

/* Below 2048 RSA is weak (NIST SP 800-131A); above 8192 one check takes too long to be asked for by a file. */
enum {
	RSA_BITS_MIN = 2048,
	RSA_BITS_MAX = 8192
};

enum {
	SHA256_SIZE = 32
};

static bool refuse(char *reason, const char *text)
{
	(void)snprintf(reason, KEYFILE_REASON_SIZE, "%s", text);
	return false;
}

static bool refuse_errno(char *reason, const char *what, int error)
{
	const char *words = strerrordesc_np(error);

	(void)snprintf(
		reason, KEYFILE_REASON_SIZE, "%s: %s", what, words ? words : "unknown system error");
	return false;
}

bool keyfile_hex_digest(const void *data, size_t length, char out[KEYRING_KEYID_SIZE])
{
	uint8_t digest[SHA256_SIZE];

	if (EVP_Digest(data, length, digest, NULL, EVP_sha256(), NULL) != 1) {
		return false;
	}
	hex_write(digest, sizeof(digest), out);
	return true;
}

/* The file's bytes, terminated, into `text` (KEYRING_FILE_MAX + 1 bytes). */
static bool read_text(int directory, const char *name, char *text, char *reason)
{
	struct stat status;
	size_t length = 0;
	bool done = false;
	/* Not to hang on a FIFO somebody left there. */
	int file = openat(directory, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (file < 0) {
		return refuse_errno(reason, "cannot be opened", errno);
	}
	if (fstat(file, &status) != 0) {
		(void)refuse_errno(reason, "cannot be read", errno);
		goto out;
	}
	if (!S_ISREG(status.st_mode)) {
		(void)refuse(reason, "not a regular file");
		goto out;
	}
	while (length <= KEYRING_FILE_MAX) {
		ssize_t got = read(file, text + length, KEYRING_FILE_MAX + 1 - length);

		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			(void)refuse_errno(reason, "cannot be read", errno);
			goto out;
		}
		if (got == 0) {
			break;
		}
		length += (size_t)got;
	}
	if (length > KEYRING_FILE_MAX) {
		(void)refuse(reason, "larger than 65536 bytes");
		goto out;
	}
	text[length] = '\0';
	if (length == 0) {
		(void)refuse(reason, "empty");
	} else if (memchr(text, '\0', length)) {
		(void)refuse(reason, "not a text file, a PEM public key is needed");
	} else {
		done = true;
	}
out:
	(void)close(file);
	return done;
}

/* What stands in the PEM file, before OpenSSL sees it: people put the wrong thing there. */
static bool check_pem(const char *text, char *reason)
{
	static const char begin[] = "-----BEGIN ";
	const char *first = strstr(text, begin);

	if (strstr(text, "PRIVATE KEY-----")) {
		return refuse(reason,
			"a private key left in the directory; keep it off this machine and put the public key here "
			"(openssl pkey -pubout)");
	}
	if (!first) {
		return refuse(reason, "no PEM public key (-----BEGIN PUBLIC KEY-----) in it");
	}
	if (strstr(first + 1, begin)) {
		return refuse(reason, "more than one PEM object; one key a file");
	}
	if (strstr(text, "-----BEGIN CERTIFICATE")) {
		return refuse(
			reason, "a certificate; a public key is needed (openssl x509 -pubkey -noout)");
	}
	if (strncmp(first, "-----BEGIN PUBLIC KEY-----", strlen("-----BEGIN PUBLIC KEY-----")) != 0) {
		return refuse(reason, "not a PEM public key (-----BEGIN PUBLIC KEY-----)");
	}
	return true;
}

static EVP_PKEY *decode_key(const char *text)
{
	EVP_PKEY *key = NULL;
	char *name = NULL;
	char *header = NULL;
	unsigned char *der = NULL;
	const unsigned char *at = NULL;
	long length = 0;
	BIO *bio = BIO_new_mem_buf(text, -1);

	if (bio && PEM_read_bio(bio, &name, &header, &der, &length) == 1) {
		at = der;
		key = d2i_PUBKEY(NULL, &at, length);
		if (key && at != der + length) {
			EVP_PKEY_free(key);
			key = NULL;
		}
	}
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(der);
	BIO_free(bio);
	return key;
}

static bool check_rsa(struct keyfile *keyfile, char *reason)
{
	int bits = EVP_PKEY_get_bits(keyfile->key);
	BIGNUM *exponent = NULL;
	bool sound = false;

	if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX) {
		(void)snprintf(reason, KEYFILE_REASON_SIZE, "RSA of %d bits; accepted are %d to %d", bits,
			RSA_BITS_MIN, RSA_BITS_MAX);
		return false;
	}
	/* With exponent 1 everybody can sign; an even one is no RSA. */
	if (EVP_PKEY_get_bn_param(keyfile->key, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1) {
		sound = BN_is_odd(exponent) && !BN_is_one(exponent) && !BN_is_negative(exponent);
	}
	BN_free(exponent);
	if (!sound) {
		return refuse(
			reason, "RSA with an unsafe public exponent; accepted are odd ones from 3 on");
	}
	(void)snprintf(keyfile->kind, sizeof(keyfile->kind), "RSA %d", bits);
	keyfile->algorithm = KEYFILE_RSA;
	return true;
}

static bool check_ec(struct keyfile *keyfile, char *reason)
{
	static const struct {
		const char *group;
		const char *kind;
	} curves[] = {
		{ "prime256v1", "ECDSA P-256" },
		{ "P-256", "ECDSA P-256" },
		{ "secp384r1", "ECDSA P-384" },
		{ "P-384", "ECDSA P-384" },
	};
	char group[64] = "";
	char encoding[32] = "";

	/* Explicit parameters may describe a curve that only looks like the named one (CVE-2020-0601). */
	if (EVP_PKEY_get_utf8_string_param(
			keyfile->key, OSSL_PKEY_PARAM_EC_ENCODING, encoding, sizeof(encoding), NULL)
			!= 1
		|| strcmp(encoding, OSSL_PKEY_EC_ENCODING_GROUP) != 0) {
		return refuse(
			reason, "elliptic curve by explicit parameters; accepted are named P-256 and P-384");
	}
	if (EVP_PKEY_get_group_name(keyfile->key, group, sizeof(group), NULL) != 1) {
		return refuse(reason, "unknown elliptic curve; accepted are P-256 and P-384");
	}
	for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
		if (strcmp(curves[i].group, group) == 0) {
			(void)snprintf(keyfile->kind, sizeof(keyfile->kind), "%s", curves[i].kind);
			keyfile->algorithm = KEYFILE_ECDSA;
			return true;
		}
	}
	(void)snprintf(reason, KEYFILE_REASON_SIZE,
		"elliptic curve %s; accepted are P-256 and P-384 for ECDSA, and Ed25519", group);
	return false;
}

static bool check_kind(struct keyfile *keyfile, char *reason)
{
	const char *type = EVP_PKEY_get0_type_name(keyfile->key);

	switch (EVP_PKEY_get_base_id(keyfile->key)) {
	case EVP_PKEY_RSA:
		return check_rsa(keyfile, reason);
	case EVP_PKEY_EC:
		return check_ec(keyfile, reason);
	case EVP_PKEY_ED25519:
		(void)snprintf(keyfile->kind, sizeof(keyfile->kind), "Ed25519");
		keyfile->algorithm = KEYFILE_ED25519;
		return true;
	default:
		(void)snprintf(reason, KEYFILE_REASON_SIZE,
			"key type %s; accepted are RSA (2048 bits and up), ECDSA (P-256, P-384) and Ed25519",
			type ? type : "unknown");
		return false;
	}
}

/* Is the point on the curve, is the modulus no prime, ... */
static bool check_sound(EVP_PKEY *key)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	bool sound = context && EVP_PKEY_public_check(context) == 1;

	EVP_PKEY_CTX_free(context);
	return sound;
}

static bool make_keyid(struct keyfile *keyfile)
{
	unsigned char *der = NULL;
	int length = i2d_PUBKEY(keyfile->key, &der);
	bool done = length > 0 && keyfile_hex_digest(der, (size_t)length, keyfile->keyid);

	OPENSSL_free(der);
	return done;
}

bool keyfile_read(int directory, const char *name, struct keyfile *keyfile, char *reason)
{
	struct keyfile read_key = { 0 };
	bool done = false;
	char *text = malloc(KEYRING_FILE_MAX + 1);

	if (!text) {
		return refuse(reason, "no memory");
	}
	/* The broker reads its TLS results from the thread's error queue, so nothing of ours may stay in it. */
	(void)ERR_set_mark();
	if (!read_text(directory, name, text, reason) || !check_pem(text, reason)) {
		goto out;
	}
	read_key.key = decode_key(text);
	if (!read_key.key) {
		(void)refuse(reason, "not a PEM public key that OpenSSL can read");
		goto out;
	}
	if (!check_kind(&read_key, reason)) {
		goto out;
	}
	if (!check_sound(read_key.key)) {
		(void)refuse(reason, "the key is mathematically unsound");
		goto out;
	}
	if (!make_keyid(&read_key)) {
		(void)refuse(reason, "no key id can be made of it");
		goto out;
	}
	done = true;
out:
	(void)ERR_pop_to_mark();
	free(text);
	if (done) {
		*keyfile = read_key;
	} else {
		EVP_PKEY_free(read_key.key);
	}
	return done;
}
