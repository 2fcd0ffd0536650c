#include "notice.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include "json.h"

enum {
	HEAD_MAX = 128
};

static const char payload_type[] = "application/vnd.mosquitto-ota.manifest+json";

static EVP_PKEY *keys[CONFIG_KEYS_MAX];
static size_t key_count;
static const cJSON *envelope;                        /* of the notice parsed last */
static unsigned char message[HEAD_MAX + NOTICE_MAX]; /* DSSE: what is signed */

/* Base64, standard or URL-safe, padded or not.  False when it is none, or does not fit. */
static bool decode(const char *text, unsigned char *out, size_t room, size_t *size)
{
	static unsigned char standard[NOTICE_MAX + 3];
	const size_t length = text ? strcspn(text, "=") : 0;
	const size_t groups = (length + 3) / 4;

	if (!text || length % 4 == 1 || length > NOTICE_MAX || groups * 3 > room
		|| strspn(text + length, "=") != strlen(text + length)) {
		return false;
	}
	for (size_t i = 0; i < length; i++) {
		standard[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : (unsigned char)text[i];
	}
	memset(standard + length, '=', groups * 4 - length);
	*size = length * 3 / 4;
	return EVP_DecodeBlock(out, standard, (int)(groups * 4)) == (int)(groups * 3);
}

static bool read_signature(const cJSON *object, const char *name, struct signature *signature)
{
	return decode(
		json_text(object, name), signature->bytes, sizeof(signature->bytes), &signature->size);
}

static bool decode_sha256(const char *hex, unsigned char out[SHA256_SIZE])
{
	size_t size = 0;

	return hex && strlen(hex) == SHA256_HEX_SIZE - 1
		&& OPENSSL_hexstr2buf_ex(out, SHA256_SIZE, &size, hex, '\0') == 1 && size == SHA256_SIZE;
}

static bool is_version(const char *text)
{
	static const char letters[] =
		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.+-_";

	return text[0] && strspn(text, letters) == strlen(text);
}

static bool is_address(const char *url)
{
	const char *end = url;

	while (isgraph((unsigned char)*end)) {
		end++;
	}
	return *end == '\0' && (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0);
}

const char *notice_parse(struct notice *notice, const char *text, size_t size)
{
	*notice = (struct notice){ 0 };
	json_begin();
	const cJSON *body = size <= NOTICE_MAX ? cJSON_ParseWithLength(text, size) : NULL;
	const char *action = json_has(body, "action") ? json_text(body, "action") : "update";

	notice->has_rollout = json_number(body, "rollout", &notice->rollout);
	(void)json_number(body, "attempt", &notice->attempt);
	if (!action || !json_copy(body, "version", notice->image.version, sizeof(notice->image.version))
		|| !is_version(notice->image.version)) {
		return "BAD_NOTICE";
	}
	notice->recall = strcmp(action, "cancel") == 0;
	if (notice->recall) {
		return NULL;
	}
	envelope =
		json_has(body, "manifest") ? cJSON_GetObjectItemCaseSensitive(body, "manifest") : NULL;
	if (strcmp(action, "update") != 0 || !json_copy(body, "url", notice->url, sizeof(notice->url))
		|| !is_address(notice->url) || !decode_sha256(json_text(body, "sha256"), notice->sha256)
		|| !json_number(body, "size", &notice->image.size) || notice->image.size == 0
		|| (json_has(body, "signature")
			&& !read_signature(body, "signature", &notice->signature))) {
		return "BAD_NOTICE";
	}
	bootctl_hex(notice->sha256, notice->image.sha256);
	if (notice->has_rollout) {
		(void)snprintf(notice->key, sizeof(notice->key), "%" PRIu64 "/%" PRIu64, notice->rollout,
			notice->attempt);
	} else {
		(void)snprintf(
			notice->key, sizeof(notice->key), "%s/%s", notice->image.version, notice->image.sha256);
	}
	return NULL;
}

static bool is_accepted(const EVP_PKEY *key)
{
	char curve[64] = "";

	(void)EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL);
	return (EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= 2048)
		|| (EVP_PKEY_is_a(key, "EC")
			&& (strcmp(curve, "prime256v1") == 0 || strcmp(curve, "secp384r1") == 0))
		|| EVP_PKEY_is_a(key, "ED25519");
}

bool notice_load_keys(const struct config *config)
{
	for (size_t i = 0; i < config->keys; i++) {
		FILE *file = fopen(config->trusted_key[i], "r");
		EVP_PKEY *key = file ? PEM_read_PUBKEY(file, NULL, NULL, NULL) : NULL;

		if (file) {
			fclose(file);
		}
		if (!key || !is_accepted(key)) {
			EVP_PKEY_free(key);
			fprintf(stderr,
				"trusted_key %s: accepted are PEM public keys: RSA from 2048 bits, ECDSA P-256 or P-384, "
				"Ed25519\n",
				config->trusted_key[i]);
			return false;
		}
		keys[key_count++] = key;
	}
	return true;
}

/* Did `key` sign what has this hash? */
static bool verifies_hash(
	EVP_PKEY *key, int rsa_padding, const struct signature *signature, const unsigned char *sha256)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	bool good = context && EVP_PKEY_verify_init(context) == 1
		&& (!EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_CTX_set_rsa_padding(context, rsa_padding) > 0)
		&& EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) > 0
		&& EVP_PKEY_verify(context, signature->bytes, signature->size, sha256, SHA256_SIZE) == 1;

	EVP_PKEY_CTX_free(context);
	return good;
}

static bool verifies_text(
	EVP_PKEY *key, const struct signature *signature, const unsigned char *text, size_t size)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good = context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1
		&& EVP_DigestVerify(context, signature->bytes, signature->size, text, size) == 1;

	EVP_MD_CTX_free(context);
	return good;
}

/* Ed25519 hashes for itself: it needs the text, and cannot sign a file (`text` NULL) here. */
static bool anybody_signed(const struct signature *signature, const unsigned char *sha256,
	const unsigned char *text, size_t size)
{
	for (size_t i = 0; i < key_count; i++) {
		if (EVP_PKEY_is_a(keys[i], "ED25519")
				? text && verifies_text(keys[i], signature, text, size)
				: verifies_hash(keys[i], RSA_PKCS1_PADDING, signature, sha256)
					|| verifies_hash(keys[i], RSA_PKCS1_PSS_PADDING, signature, sha256)) {
			return true;
		}
	}
	return false;
}

const char *notice_verify_file(const struct notice *notice)
{
	bool good =
		notice->signature.size == 0 || anybody_signed(&notice->signature, notice->sha256, NULL, 0);

	return good ? NULL : "BAD_SIGNATURE";
}

/* The manifest, parsed from exactly the bytes that were verified; NULL when no pinned key signed it. */
static const cJSON *open_envelope(void)
{
	const char *type = json_text(envelope, "payloadType");
	const cJSON *entry = NULL;
	unsigned char sha256[SHA256_SIZE] = { 0 };
	unsigned char *payload = message + HEAD_MAX;
	char head[HEAD_MAX] = "";
	size_t size = 0;

	if (!type || strcmp(type, payload_type) != 0
		|| !decode(json_text(envelope, "payload"), payload, NOTICE_MAX, &size)) {
		return NULL;
	}
	/* DSSE signs the lengths and the type as well. */
	size_t length =
		(size_t)snprintf(head, sizeof(head), "DSSEv1 %zu %s %zu ", strlen(type), type, size);
	const unsigned char *text = memcpy(payload - length, head, length);

	(void)SHA256(text, length + size, sha256);
	cJSON_ArrayForEach(entry, cJSON_GetObjectItemCaseSensitive(envelope, "signatures")) {
		struct signature signature;

		if (read_signature(entry, "sig", &signature)
			&& anybody_signed(&signature, sha256, text, length + size)) {
			return cJSON_ParseWithLength((const char *)payload, size);
		}
	}
	return NULL;
}

/* An absent list allows everybody. */
static const char *check_list(
	const cJSON *manifest, const char *name, const char *own, const char *code)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(manifest, name);
	const cJSON *entry = NULL;

	if (!list) {
		return NULL;
	}
	if (!cJSON_IsArray(list)) {
		return "MANIFEST_MISMATCH";
	}
	cJSON_ArrayForEach(entry, list) {
		if (cJSON_IsString(entry) && strcmp(entry->valuestring, own) == 0) {
			return NULL;
		}
	}
	return code;
}

/* RFC 3339.  Absent: `*when` stays as it is. */
static bool read_time(const cJSON *manifest, const char *name, time_t *when)
{
	const char *text = json_text(manifest, name);
	struct tm parts = { 0 };
	char sign = '+';
	int hours = 0;
	int minutes = 0;

	if (!cJSON_GetObjectItemCaseSensitive(manifest, name)) {
		return true;
	}
	const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &parts) : NULL;

	if (rest && *rest == '.') {
		rest += 1 + strspn(rest + 1, "0123456789");
	}
	if (!rest
		|| (strcmp(rest, "Z") != 0 && sscanf(rest, "%c%2d:%2d", &sign, &hours, &minutes) != 3)) {
		return false;
	}
	*when = timegm(&parts) - (sign == '-' ? -1 : 1) * (hours * 60 + minutes) * 60;
	return true;
}

/* What of a URL is signed: its path. */
static const char *path_of(const char *url, size_t *length)
{
	const char *host = strstr(url, "://");
	const char *path = host ? host + 3 + strcspn(host + 3, "/?#") : "";

	*length = strcspn(path, "?#");
	return path;
}

/* A fleet may have a server or a bucket of its own: another host, something before the path, a query behind it. */
static bool is_place_of(const char *told, const char *signed_url)
{
	size_t length = 0;
	size_t told_length = 0;
	const char *path = path_of(signed_url, &length);
	const char *told_path = path_of(told, &told_length);

	return length > 0 && told_length >= length
		&& memcmp(told_path + told_length - length, path, length) == 0;
}

static const char *check_manifest(
	const cJSON *manifest, struct notice *notice, const struct config *config, uint64_t newest)
{
	const time_t now = time(NULL);
	unsigned char sha256[SHA256_SIZE] = { 0 };
	time_t expires = now + 1;
	time_t begins = now;
	uint64_t schema = 0;
	uint64_t size = 0;
	const char *url = json_text(manifest, "url");
	const char *version = json_text(manifest, "version");

	if (!json_number(manifest, "schema", &schema) || schema != 1
		|| !decode_sha256(json_text(manifest, "sha256"), sha256)
		|| memcmp(sha256, notice->sha256, sizeof(sha256)) != 0
		|| !json_number(manifest, "size", &size) || size != notice->image.size || !url
		|| !is_place_of(notice->url, url) || !version || strcmp(version, notice->image.version) != 0
		|| !json_number(manifest, "sequence", &notice->image.sequence)
		|| !read_time(manifest, "expires", &expires)
		|| !read_time(manifest, "notBefore", &begins)) {
		return "MANIFEST_MISMATCH";
	}
	if (notice->image.sequence < newest) {
		return "SEQUENCE_ROLLBACK";
	}
	const char *code = check_list(manifest, "hardware", config->hardware, "WRONG_HARDWARE");

	if (!code && config->fleet[0]) {
		code = check_list(manifest, "fleets", config->fleet, "WRONG_FLEET");
	}
	return code ? code : now >= expires ? "EXPIRED" : now < begins ? "NOT_YET_VALID" : NULL;
}

const char *notice_verify(struct notice *notice, const struct config *config, uint64_t newest)
{
	const bool needs_manifest = strcmp(config->signature, "artifact") != 0;
	const bool needs_signature = strcmp(config->signature, "manifest") != 0;

	notice->image.sequence = newest;
	if ((needs_manifest && !envelope) || (needs_signature && notice->signature.size == 0)) {
		return "BAD_SIGNATURE";
	}
	if (!envelope) {
		return NULL; /* the policy is "artifact": nothing to compare, no sequence number */
	}
	const cJSON *manifest = open_envelope();

	return manifest ? check_manifest(manifest, notice, config, newest) : "BAD_SIGNATURE";
}
