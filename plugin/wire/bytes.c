#include "ota/wire/bytes.h"

#include "ota/wire/topic.h"

void bytes_put_integer(uint8_t *out, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		out[i] = (uint8_t)(value >> (8 * i));
	}
}

uint64_t bytes_get_integer(const uint8_t *in, size_t size)
{
	uint64_t value = 0;

	for (size_t i = 0; i < size; i++) {
		value |= (uint64_t)in[i] << (8 * i);
	}
	return value;
}

enum ota_err bytes_get_string(
	const uint8_t *record, size_t length, size_t prefix, size_t *at, const char **text)
{
	const char *found;
	uint64_t size;
	size_t left = length - *at;

	if (left <= prefix) {
		return OTA_ERR_INVALID;
	}
	size = bytes_get_integer(record + *at, prefix);
	left -= prefix;
	found = (const char *)record + *at + prefix;
	/* topic_utf8_valid() refuses zero bytes inside. */
	if (size >= left || found[size] != '\0' || !topic_utf8_valid(found, (size_t)size)) {
		return OTA_ERR_INVALID;
	}
	*text = found;
	*at += prefix + (size_t)size + 1;
	return OTA_OK;
}
