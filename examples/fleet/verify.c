#include "verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

static const char payload_type[] = "application/vnd.mosquitto-ota.manifest+json";

struct keyring {
	EVP_PKEY *keys[OPTIONS_KEYS_MAX];
	size_t count;
};

/* One way to verify with a key; a key is tried in each way that fits it. */
struct scheme {
	int key_type;
	const char *digest; /* NULL: the algorithm hashes for itself */
	int padding;        /* RSA only */
};

static const struct scheme schemes[] = {
	{ EVP_PKEY_RSA, "SHA256", RSA_PKCS1_PADDING },
	{ EVP_PKEY_RSA, "SHA256", RSA_PKCS1_PSS_PADDING },
	{ EVP_PKEY_EC, "SHA256", 0 },
	{ EVP_PKEY_EC, "SHA384", 0 },
	{ EVP_PKEY_ED25519, NULL, 0 },
};

const char *verify_error_name(enum update_error error)
{
	static const char *const names[] = {
		[UPDATE_OK] = "",
		[UPDATE_BAD_NOTICE] = "BAD_NOTICE",
		[UPDATE_BAD_SIGNATURE] = "BAD_SIGNATURE",
		[UPDATE_MANIFEST_MISMATCH] = "MANIFEST_MISMATCH",
		[UPDATE_SEQUENCE_ROLLBACK] = "SEQUENCE_ROLLBACK",
		[UPDATE_WRONG_HARDWARE] = "WRONG_HARDWARE",
		[UPDATE_DOWNLOAD_FAILED] = "DOWNLOAD_FAILED",
		[UPDATE_SIZE_MISMATCH] = "SIZE_MISMATCH",
		[UPDATE_HASH_MISMATCH] = "HASH_MISMATCH",
		[UPDATE_SLOT_WRITE_FAILED] = "SLOT_WRITE_FAILED",
		[UPDATE_HEALTH_CHECK_FAILED] = "HEALTH_CHECK_FAILED",
		[UPDATE_BOOT_LOOP] = "BOOT_LOOP",
		[UPDATE_DECLINED] = "DECLINED",
		[UPDATE_BUSY] = "BUSY",
	};

	return names[error];
}

static bool key_is_accepted(const EVP_PKEY *key)
{
	char curve[64] = "";
	int type = EVP_PKEY_get_base_id(key);

	if (type == EVP_PKEY_RSA) {
		return EVP_PKEY_get_bits(key) >= 2048;
	}
	if (type == EVP_PKEY_EC) {
		return EVP_PKEY_get_utf8_string_param(
				   key, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof(curve), NULL)
			== 1
			&& (strcmp(curve, "prime256v1") == 0 || strcmp(curve, "secp384r1") == 0);
	}
	return type == EVP_PKEY_ED25519;
}

static bool keyring_has(const struct keyring *keyring, const EVP_PKEY *key)
{
	for (size_t i = 0; i < keyring->count; i++) {
		if (EVP_PKEY_eq(keyring->keys[i], key) == 1) {
			return true;
		}
	}
	return false;
}

struct keyring *keyring_load(const struct text_list *files)
{
	struct keyring *keyring = common_alloc(1, sizeof(*keyring));

	for (size_t i = 0; i < files->count; i++) {
		FILE *file = fopen(files->items[i], "r");
		EVP_PKEY *key = file ? PEM_read_PUBKEY(file, NULL, NULL, NULL) : NULL;

		if (file) {
			fclose(file);
		}
		if (!key || !key_is_accepted(key)) {
			EVP_PKEY_free(key);
			fprintf(stderr,
				"mosquitto_ota_fleet: trusted-key: \"%s\" is not accepted; give a PEM public key: "
				"RSA from 2048 bits, ECDSA P-256 or P-384, Ed25519\n",
				files->items[i]);
			keyring_free(keyring);
			return NULL;
		}
		/* The same key in two files is still one signer. */
		if (keyring_has(keyring, key)) {
			EVP_PKEY_free(key);
		} else {
			keyring->keys[keyring->count++] = key;
		}
	}
	return keyring;
}

void keyring_free(struct keyring *keyring)
{
	for (size_t i = 0; keyring && i < keyring->count; i++) {
		EVP_PKEY_free(keyring->keys[i]);
	}
	free(keyring);
}

static bool message_verifies(EVP_PKEY *key, const struct scheme *scheme,
	const unsigned char *message, size_t size, const unsigned char *signature,
	size_t signature_size)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *parameters = NULL; /* owned by `context` */
	bool verified = false;

	if (context
		&& EVP_DigestVerifyInit_ex(context, &parameters, scheme->digest, NULL, NULL, key, NULL) == 1
		&& (scheme->padding == 0
			|| EVP_PKEY_CTX_set_rsa_padding(parameters, scheme->padding) > 0)) {
		verified = EVP_DigestVerify(context, signature, signature_size, message, size) == 1;
	}
	EVP_MD_CTX_free(context);
	return verified;
}

static bool digest_verifies(EVP_PKEY *key, const struct scheme *scheme, const unsigned char *sha256,
	const unsigned char *signature, size_t signature_size)
{
	if (!scheme->digest) {
		return message_verifies(key, scheme, sha256, COMMON_SHA256_SIZE, signature, signature_size);
	}
	if (strcmp(scheme->digest, "SHA256") != 0) {
		return false;
	}
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	bool verified = false;

	if (context && EVP_PKEY_verify_init(context) == 1
		&& (scheme->padding == 0 || EVP_PKEY_CTX_set_rsa_padding(context, scheme->padding) > 0)
		&& EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) > 0) {
		verified =
			EVP_PKEY_verify(context, signature, signature_size, sha256, COMMON_SHA256_SIZE) == 1;
	}
	EVP_PKEY_CTX_free(context);
	return verified;
}

/* Does `key` verify in any of its schemes?  `size` 0 means that `message` is a SHA-256. */
static bool key_verifies(EVP_PKEY *key, const unsigned char *message, size_t size,
	const unsigned char *signature, size_t signature_size)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (EVP_PKEY_get_base_id(key) != schemes[i].key_type) {
			continue;
		}
		if (size == 0
				? digest_verifies(key, &schemes[i], message, signature, signature_size)
				: message_verifies(key, &schemes[i], message, size, signature, signature_size)) {
			return true;
		}
	}
	return false;
}

enum update_error verify_artifact(
	const struct keyring *keyring, const struct notice *notice, const unsigned char *sha256)
{
	if (!keyring || !notice->signature) {
		return UPDATE_OK; /* verify_notice() has refused a notice that needs one */
	}
	for (size_t i = 0; i < keyring->count; i++) {
		if (key_verifies(keyring->keys[i], sha256, 0, notice->signature, notice->signature_size)) {
			return UPDATE_OK;
		}
	}
	return UPDATE_BAD_SIGNATURE;
}

/* Pre-authentication encoding of DSSE v1: "DSSEv1" SP len SP type SP len SP payload. */
static unsigned char *encode_dsse(const unsigned char *payload, size_t payload_size, size_t *size)
{
	char head[128] = "";
	int length = snprintf(head, sizeof(head), "DSSEv1 %zu %s %zu ", sizeof(payload_type) - 1,
		payload_type, payload_size);
	unsigned char *out = NULL;

	if (length <= 0 || (size_t)length >= sizeof(head)) {
		return NULL;
	}
	out = common_alloc((size_t)length + payload_size, 1);
	memcpy(out, head, (size_t)length);
	memcpy(out + length, payload, payload_size);
	*size = (size_t)length + payload_size;
	return out;
}

/* How many distinct keys signed `message`?  The key ids are hints and not looked at. */
static size_t count_signers(const struct keyring *keyring, const cJSON *signatures,
	const unsigned char *message, size_t size)
{
	const int signatures_max = 32;
	bool signers[OPTIONS_KEYS_MAX] = { false };
	size_t distinct = 0;
	const cJSON *entry = NULL;

	if (!cJSON_IsArray(signatures) || cJSON_GetArraySize(signatures) > signatures_max) {
		return 0;
	}
	cJSON_ArrayForEach(entry, signatures) {
		const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "sig"));
		size_t length = 0;
		unsigned char *signature = text ? common_decode_base64(text, &length) : NULL;

		for (size_t i = 0; signature && i < keyring->count; i++) {
			if (!signers[i] && key_verifies(keyring->keys[i], message, size, signature, length)) {
				signers[i] = true;
				distinct++;
			}
		}
		free(signature);
	}
	return distinct;
}

/* Verify the envelope and parse exactly the bytes that were verified; NULL if it does not hold. */
static cJSON *open_envelope(const struct keyring *keyring, const cJSON *envelope, size_t threshold)
{
	const char *type =
		cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(envelope, "payloadType"));
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(envelope, "payload"));
	size_t payload_size = 0;
	size_t size = 0;
	unsigned char *payload = text ? common_decode_base64(text, &payload_size) : NULL;
	unsigned char *message = NULL;
	cJSON *manifest = NULL;

	if (!type || strcmp(type, payload_type) != 0 || !payload || payload_size == 0) {
		goto out;
	}
	message = encode_dsse(payload, payload_size, &size);
	if (message
		&& count_signers(
			   keyring, cJSON_GetObjectItemCaseSensitive(envelope, "signatures"), message, size)
			>= threshold) {
		manifest = cJSON_ParseWithLength((const char *)payload, payload_size);
	}
out:
	free(message);
	free(payload);
	return manifest;
}

static bool text_equals(const cJSON *object, const char *name, const char *expected)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	return text && strcmp(text, expected) == 0;
}

static bool hardware_is_listed(const cJSON *manifest, const char *model)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(manifest, "hardware");
	const cJSON *entry = NULL;

	if (!list || !model) {
		return true;
	}
	cJSON_ArrayForEach(entry, list) {
		const char *text = cJSON_GetStringValue(entry);

		if (text && strcmp(text, model) == 0) {
			return true;
		}
	}
	return false;
}

/* The path of a URL, and its length without what follows. */
static const char *path_of(const char *url, size_t *length)
{
	const char *host = strstr(url, "://");
	const char *path = host ? host + 3 + strcspn(host + 3, "/?#") : "";

	*length = strcspn(path, "?#");
	return path;
}

/* A fleet may have a server of its own: the path ends with the signed one. */
static bool path_is_signed(const cJSON *manifest, const char *told)
{
	const char *url = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(manifest, "url"));
	size_t length = 0;
	size_t told_length = 0;
	const char *path = path_of(url ? url : "", &length);
	const char *told_path = path_of(told, &told_length);

	return length > 0 && told_length >= length
		&& memcmp(told_path + told_length - length, path, length) == 0;
}

static enum update_error compare_manifest(const cJSON *manifest, const struct options *options,
	const struct notice *notice, int64_t sequence, int64_t *manifest_sequence)
{
	const char *sha256 = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(manifest, "sha256"));
	unsigned char digest[COMMON_SHA256_SIZE] = { 0 };
	uint64_t schema = 0;
	uint64_t size = 0;
	uint64_t number = 0;

	if (!notice_read_number(manifest, "schema", 1, &schema) || schema != 1 || !sha256
		|| !common_decode_hex(sha256, digest, sizeof(digest))
		|| memcmp(digest, notice->sha256, sizeof(digest)) != 0
		|| !notice_read_number(manifest, "size", UINT64_C(1) << 53, &size) || size != notice->size
		|| !text_equals(manifest, "version", notice->version)
		|| !path_is_signed(manifest, notice->url)
		|| !notice_read_number(manifest, "sequence", UINT64_C(1) << 53, &number)) {
		return UPDATE_MANIFEST_MISMATCH;
	}
	if ((int64_t)number < sequence) {
		return UPDATE_SEQUENCE_ROLLBACK;
	}
	if (!hardware_is_listed(manifest, options->hardware)) {
		return UPDATE_WRONG_HARDWARE;
	}
	*manifest_sequence = (int64_t)number;
	return UPDATE_OK;
}

enum update_error verify_notice(const struct keyring *keyring, const struct options *options,
	const struct notice *notice, int64_t sequence, int64_t *manifest_sequence)
{
	const enum verify_policy policy = options->policy;
	const bool needs_manifest = policy == VERIFY_MANIFEST || policy == VERIFY_BOTH;
	const bool needs_signature = policy == VERIFY_ARTIFACT || policy == VERIFY_BOTH;

	if (!keyring) {
		*manifest_sequence = sequence;
		return UPDATE_OK;
	}
	if ((needs_manifest && !notice->manifest) || (needs_signature && !notice->signature)
		|| (!notice->manifest && !notice->signature)) {
		return UPDATE_BAD_SIGNATURE;
	}
	if (!notice->manifest) {
		*manifest_sequence = sequence;
		return UPDATE_OK;
	}
	cJSON *manifest = open_envelope(keyring, notice->manifest, options->threshold);
	enum update_error error = UPDATE_BAD_SIGNATURE;

	if (manifest) {
		error = compare_manifest(manifest, options, notice, sequence, manifest_sequence);
	}
	cJSON_Delete(manifest);
	return error;
}
