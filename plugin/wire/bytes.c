#include "ota/wire/bytes.h"

#include "ota/wire/topic.h"

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
