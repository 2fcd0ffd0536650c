/* Whatever decodes is, encoded again, the same text in the standard alphabet with padding. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char standard(char c)
{
	return c == '-' ? '+' : c == '_' ? '/' : c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *bytes = NULL;
	size_t length = 0;
	char *text = NULL;

	if (base64_decode((const char *)data, size, &bytes, &length)) {
		return 0;
	}
	text = base64_encode(bytes, length);
	if (!text || strlen(text) < size || strlen(text) != (length + 2) / 3 * 4) {
		abort();
	}
	for (size_t i = 0; i < size; i++) {
		if (text[i] != standard((char)data[i])) {
			abort();
		}
	}
	free(text);
	free(bytes);
	return 0;
}
