#include "ota/wire/dsse.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/base64.h"
#include "ota/wire/json.h"

enum {
	ENVELOPE_DEPTH_MAX = 8,
	THRESHOLD_MAX = 16
};

static enum ota_err decode_member(const cJSON *object, const char *name, size_t max,
	uint8_t **bytes, size_t *length, struct ota_why *why)
{
	enum ota_err err = OTA_ERR_INVALID;
	const char *text = NULL;
	uint8_t *decoded = NULL;
	size_t decoded_length = 0;

	/* Four characters for three bytes, and the padding. */
	err = json_text(object, name, max / 3 * 4 + 4, &text, why);
	if (err) {
		return err;
	}
	err = base64_decode(text, strlen(text), &decoded, &decoded_length);
	if (err == OTA_ERR_INVALID) {
		ota_why_set(why, "member \"%s\" is not base64 (RFC 4648, standard or URL-safe)", name);
	}
	if (err) {
		return err;
	}
	if (decoded_length == 0 || decoded_length > max) {
		ota_why_set(
			why, "member \"%s\" has %zu bytes; accepted are 1 to %zu", name, decoded_length, max);
		free(decoded);
		return OTA_ERR_INVALID;
	}
	*bytes = decoded;
	*length = decoded_length;
	return OTA_OK;
}

static enum ota_err copy_member(
	const cJSON *object, const char *name, size_t max, char **copy, struct ota_why *why)
{
	const char *text = NULL;
	enum ota_err err = json_text(object, name, max, &text, why);

	if (err) {
		return err;
	}
	*copy = strdup(text);
	return *copy ? OTA_OK : OTA_ERR_NOMEM;
}

static enum ota_err parse_signature(
	const cJSON *item, struct dsse_signature *signature, struct ota_why *why)
{
	enum ota_err err = OTA_ERR_INVALID;

	if (!cJSON_IsObject(item)) {
		ota_why_set(why, "member \"signatures\" has an element that is no object");
		return OTA_ERR_INVALID;
	}
	err =
		decode_member(item, "sig", DSSE_SIGNATURE_MAX, &signature->bytes, &signature->length, why);
	if (err) {
		return err;
	}
	err = copy_member(item, "keyid", DSSE_KEYID_MAX, &signature->keyid, why);
	return err == OTA_ERR_NOT_FOUND ? OTA_OK : err;
}

static enum ota_err parse_signatures(
	const cJSON *root, struct dsse_unverified *envelope, struct ota_why *why)
{
	const cJSON *list = json_member(root, "signatures");
	const cJSON *item = NULL;
	int count = cJSON_GetArraySize(list);

	if (!cJSON_IsArray(list) || count < 1 || count > DSSE_SIGNATURES_MAX) {
		ota_why_set(why, "member \"signatures\" is %s; accepted is a list of 1 to %d signatures",
			!list                     ? "missing"
				: cJSON_IsArray(list) ? (count < 1 ? "an empty list" : "a longer list")
									  : "no list",
			DSSE_SIGNATURES_MAX);
		return OTA_ERR_INVALID;
	}
	cJSON_ArrayForEach(item, list) {
		enum ota_err err =
			parse_signature(item, &envelope->signatures[envelope->signature_count], why);

		/* Counted also after a failure, so that what it has is freed. */
		envelope->signature_count++;
		if (err) {
			return err;
		}
	}
	return OTA_OK;
}

enum ota_err dsse_parse(
	const char *json, size_t length, struct dsse_unverified *envelope, struct ota_why *why)
{
	struct dsse_unverified parsed = { 0 };
	enum ota_err err = OTA_ERR_INVALID;
	cJSON *root = NULL;

	if (length > DSSE_ENVELOPE_MAX) {
		ota_why_set(why, "envelope of %zu bytes; accepted are up to %d", length, DSSE_ENVELOPE_MAX);
		return OTA_ERR_INVALID;
	}
	err = json_parse_object(json, length, ENVELOPE_DEPTH_MAX, &root, why);
	if (err) {
		return err;
	}
	err = copy_member(root, "payloadType", DSSE_TYPE_MAX, &parsed.payload_type, why);
	if (!err) {
		err = decode_member(
			root, "payload", DSSE_PAYLOAD_MAX, &parsed.payload, &parsed.payload_length, why);
	}
	if (!err) {
		err = parse_signatures(root, &parsed, why);
	}
	cJSON_Delete(root);
	if (err) {
		dsse_free(&parsed);
		return err == OTA_ERR_NOT_FOUND ? OTA_ERR_INVALID : err;
	}
	*envelope = parsed;
	return OTA_OK;
}

void dsse_free(struct dsse_unverified *envelope)
{
	if (!envelope) {
		return;
	}
	for (size_t i = 0; i < envelope->signature_count; i++) {
		free(envelope->signatures[i].bytes);
		free(envelope->signatures[i].keyid);
	}
	free(envelope->payload);
	free(envelope->payload_type);
	*envelope = (struct dsse_unverified){ 0 };
}

uint8_t *dsse_pae(
	const char *payload_type, const uint8_t *body, size_t body_length, size_t *pae_length)
{
	/* "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body, lengths as decimal ASCII (protocol.md). */
	uint8_t *pae = NULL;
	char *head = NULL;
	int head_length =
		asprintf(&head, "DSSEv1 %zu %s %zu ", strlen(payload_type), payload_type, body_length);

	if (head_length < 0) {
		return NULL;
	}
	if (body_length <= SIZE_MAX / 2) {
		pae = malloc((size_t)head_length + body_length + 1);
	}
	if (pae) {
		memcpy(pae, head, (size_t)head_length);
		if (body_length > 0) {
			memcpy(pae + head_length, body, body_length);
		}
		*pae_length = (size_t)head_length + body_length;
	}
	free(head);
	return pae;
}

/* Mark each key that made one of the signatures; how many there are. */
static size_t count_signers(const struct dsse_unverified *envelope, const struct keyring *keyring,
	const uint8_t *pae, size_t pae_length, bool *signers)
{
	size_t distinct = 0;

	for (size_t s = 0; s < envelope->signature_count; s++) {
		const struct dsse_signature *signature = &envelope->signatures[s];

		for (size_t k = 0; k < keyring_count(keyring); k++) {
			if (!signers[k]
				&& keyring_verify(
					keyring, k, pae, pae_length, signature->bytes, signature->length)) {
				signers[k] = true;
				distinct++;
				break; /* one signature speaks for one key */
			}
		}
	}
	return distinct;
}

static enum ota_err check_signers(size_t distinct, size_t threshold, struct ota_why *why)
{
	if (threshold < 1 || threshold > THRESHOLD_MAX) {
		ota_why_set(why, "signature threshold %zu is not in 1..%d", threshold, THRESHOLD_MAX);
		return OTA_ERR_DENIED;
	}
	if (distinct == 0) {
		ota_why_set(why, "arbitrary software: no trusted key signed the manifest");
		return OTA_ERR_DENIED;
	}
	if (distinct < threshold) {
		ota_why_set(why,
			"arbitrary software: %zu trusted key%s signed the manifest, %zu are needed", distinct,
			distinct == 1 ? "" : "s", threshold);
		return OTA_ERR_DENIED;
	}
	return OTA_OK;
}

enum ota_err dsse_verify(const struct dsse_unverified *envelope, const struct keyring *keyring,
	size_t threshold, _Bool *signed_by, struct ota_why *why)
{
	bool signers[KEYRING_KEYS_MAX] = { false };
	char shown[JSON_DESCRIBE_SIZE];
	enum ota_err err = OTA_ERR_DENIED;
	size_t pae_length = 0;
	uint8_t *pae =
		dsse_pae(envelope->payload_type, envelope->payload, envelope->payload_length, &pae_length);

	if (!pae) {
		return OTA_ERR_NOMEM;
	}
	err = check_signers(count_signers(envelope, keyring, pae, pae_length, signers), threshold, why);
	free(pae);
	if (err) {
		return err;
	}
	/* A trusted key may sign other kinds of documents; none of them is a manifest. */
	if (strcmp(envelope->payload_type, DSSE_MANIFEST_TYPE) != 0) {
		ota_why_set(why, "arbitrary software: payloadType is %s; accepted is \"%s\"",
			json_describe_text(envelope->payload_type, shown), DSSE_MANIFEST_TYPE);
		return OTA_ERR_DENIED;
	}
	if (signed_by) {
		memcpy(signed_by, signers, keyring_count(keyring) * sizeof(*signed_by));
	}
	return OTA_OK;
}

/* Add "name": base64 of the bytes. */
static bool add_base64(cJSON *object, const char *name, const uint8_t *bytes, size_t length)
{
	char *text = base64_encode(bytes, length);
	bool added = text && cJSON_AddStringToObject(object, name, text);

	free(text);
	return added;
}

static bool add_signature(cJSON *list, const struct dsse_signature *signature)
{
	cJSON *item = cJSON_CreateObject();

	if (!item || !cJSON_AddItemToArray(list, item)) {
		cJSON_Delete(item);
		return false;
	}
	return (!signature->keyid || cJSON_AddStringToObject(item, "keyid", signature->keyid))
		&& add_base64(item, "sig", signature->bytes, signature->length);
}

char *dsse_render(const struct dsse_unverified *envelope)
{
	cJSON *root = cJSON_CreateObject();
	char *json = NULL;
	cJSON *list = NULL;
	bool done = root && cJSON_AddStringToObject(root, "payloadType", envelope->payload_type)
		&& add_base64(root, "payload", envelope->payload, envelope->payload_length);

	if (done) {
		list = cJSON_AddArrayToObject(root, "signatures");
		done = list != NULL;
	}
	for (size_t i = 0; done && i < envelope->signature_count; i++) {
		done = add_signature(list, &envelope->signatures[i]);
	}
	if (done) {
		json = cJSON_PrintUnformatted(root);
	}
	cJSON_Delete(root);
	return json;
}
