#include "ota/wire/block.h"

#include <string.h>

#include "ota/wire/json.h"

enum {
	DEPTH_MAX = 4,
};

static enum ota_err refuse_sha256(const char *text, struct ota_why *why)
{
	char shown[JSON_DESCRIBE_SIZE];

	ota_why_set(
		why, "sha256 is %s, accepted are 64 hexadecimal digits", json_describe_text(text, shown));
	return OTA_ERR_INVALID;
}

static enum ota_err read_sha256(const cJSON *object, char sha256[BLOCK_SHA256], struct ota_why *why)
{
	const char *text = NULL;
	enum ota_err err = json_text(object, "sha256", BLOCK_REQUEST_MAX, &text, why);

	if (err == OTA_ERR_NOT_FOUND) {
		return refuse_sha256(NULL, why);
	}
	if (err != OTA_OK) {
		return err;
	}
	if (strlen(text) != BLOCK_SHA256 - 1
		|| strspn(text, "0123456789abcdefABCDEF") != BLOCK_SHA256 - 1) {
		return refuse_sha256(text, why);
	}
	for (size_t i = 0; i < BLOCK_SHA256; i++) {
		sha256[i] = text[i];
		if (text[i] >= 'A' && text[i] <= 'F') {
			sha256[i] = (char)(text[i] - 'A' + 'a');
		}
	}
	return OTA_OK;
}

static enum ota_err read_number(
	const cJSON *object, const char *name, int64_t min, int64_t *value, struct ota_why *why)
{
	enum ota_err err = json_integer(object, name, min, JSON_INTEGER_MAX, value, why);

	if (err == OTA_ERR_NOT_FOUND) {
		ota_why_set(
			why, "%s is missing, accepted is an integer from %lld on", name, (long long)min);
		err = OTA_ERR_INVALID;
	}
	return err;
}

enum ota_err block_request_parse(
	const char *payload, size_t length, struct block_request *request, struct ota_why *why)
{
	struct block_request found = { 0 };
	cJSON *root = NULL;
	enum ota_err err;

	if (payload == NULL || length == 0) {
		ota_why_set(why, "it is empty, accepted is an object with sha256, offset and length");
		return OTA_ERR_INVALID;
	}
	if (length > BLOCK_REQUEST_MAX) {
		ota_why_set(why, "it has %zu bytes, accepted are at most %d", length, BLOCK_REQUEST_MAX);
		return OTA_ERR_INVALID;
	}
	err = json_parse_object(payload, length, DEPTH_MAX, &root, why);
	if (err != OTA_OK) {
		return err;
	}
	err = read_sha256(root, found.sha256, why);
	if (err == OTA_OK) {
		err = read_number(root, "offset", 0, &found.offset, why);
	}
	if (err == OTA_OK) {
		err = read_number(root, "length", 1, &found.length, why);
	}
	cJSON_Delete(root);
	if (err == OTA_OK) {
		*request = found;
	}
	return err;
}

static void put(uint8_t *out, uint64_t value, size_t size)
{
	for (size_t i = size; i-- > 0; value >>= 8) {
		out[i] = (uint8_t)value;
	}
}

void block_header_write(const struct block_header *header, uint8_t out[BLOCK_HEADER])
{
	out[0] = BLOCK_VERSION;
	out[1] = (uint8_t)header->status;
	put(out + 2, header->retry_after, 2);
	put(out + 4, header->length, 4);
	put(out + 8, header->offset, 8);
}
