#include "notice.h"

#include <stdlib.h>
#include <string.h>

static const size_t payload_max = 262144;
static const size_t url_max = 4095;
static const uint64_t integer_max = UINT64_C(1) << 53; /* what a JSON number holds exactly */
static const uint64_t size_max = UINT64_C(1) << 40;

bool notice_read_number(const cJSON *object, const char *name, uint64_t high, uint64_t *value)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > (double)high) {
		return false;
	}
	uint64_t whole = (uint64_t)item->valuedouble;

	if ((double)whole < item->valuedouble) {
		return false;
	}
	*value = whole;
	return true;
}

static const char *read_text(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static char *copy_text(const char *text)
{
	size_t length = strlen(text) + 1;

	return memcpy(common_alloc(length, 1), text, length);
}

/* Returns what is wrong, or NULL. */
static const char *read_numbers(const cJSON *json, struct notice *notice)
{
	uint64_t number = 0;

	if (cJSON_HasObjectItem(json, "rollout")) {
		if (!notice_read_number(json, "rollout", integer_max, &number)) {
			return "rollout is not a whole number";
		}
		notice->rollout = (int64_t)number;
	}
	if (cJSON_HasObjectItem(json, "attempt")) {
		if (!notice_read_number(json, "attempt", UINT32_MAX, &number)) {
			return "attempt is not a whole number";
		}
		notice->attempt = (uint32_t)number;
	}
	return NULL;
}

static const char *read_update(cJSON *json, struct notice *notice)
{
	const char *url = read_text(json, "url");
	const char *sha256 = read_text(json, "sha256");
	const char *signature = read_text(json, "signature");
	cJSON *manifest = cJSON_GetObjectItemCaseSensitive(json, "manifest");

	if (!url || strlen(url) > url_max
		|| (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)) {
		return "url is missing or is not http or https";
	}
	if (!sha256 || !common_decode_hex(sha256, notice->sha256, sizeof(notice->sha256))) {
		return "sha256 is missing or is not 64 hex digits";
	}
	if (!notice_read_number(json, "size", size_max, &notice->size) || notice->size == 0) {
		return "size is missing or is not a number of bytes";
	}
	if (signature) {
		notice->signature = common_decode_base64(signature, &notice->signature_size);
		if (!notice->signature) {
			return "signature is not base64";
		}
	}
	if (manifest && !cJSON_IsNull(manifest)) {
		if (!cJSON_IsObject(manifest)) {
			return "manifest is not an object";
		}
		notice->manifest = cJSON_DetachItemViaPointer(json, manifest);
	}
	notice->url = copy_text(url);
	notice->sha256_hex = copy_text(sha256);
	return NULL;
}

static const char *read_notice(cJSON *json, struct notice *notice)
{
	const char *action = read_text(json, "action");
	const char *version = read_text(json, "version");
	const char *why = read_numbers(json, notice);

	if (why) {
		return why;
	}
	if (!version || !image_version_is_valid(version)) {
		return "version is missing or is not a version";
	}
	memcpy(notice->version, version, strlen(version) + 1);
	if (action && strcmp(action, "cancel") == 0) {
		notice->kind = NOTICE_RECALL;
		return NULL;
	}
	if (action && strcmp(action, "update") != 0) {
		return "action is unknown";
	}
	why = read_update(json, notice);
	if (!why) {
		notice->kind = NOTICE_UPDATE;
	}
	return why;
}

void notice_parse(const void *payload, size_t size, struct notice *notice)
{
	*notice = (struct notice){ .kind = NOTICE_INVALID, .why = "it is empty or too long" };
	if (!payload || size == 0 || size > payload_max) {
		return;
	}
	cJSON *json = cJSON_ParseWithLength(payload, size);

	notice->why = cJSON_IsObject(json) ? read_notice(json, notice) : "it is not a JSON object";
	cJSON_Delete(json);
}

void notice_free(struct notice *notice)
{
	free(notice->url);
	free(notice->sha256_hex);
	free(notice->signature);
	cJSON_Delete(notice->manifest);
	*notice = (struct notice){ .kind = NOTICE_INVALID };
}
