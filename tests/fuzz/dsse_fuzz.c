/* Whatever parses as an envelope renders to one that parses to the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/dsse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dsse_unverified first;
	struct dsse_unverified second;
	struct ota_why why = { "" };
	size_t pae_length = 0;
	uint8_t *pae = NULL;
	char *json = NULL;

	if (dsse_parse((const char *)data, size, &first, &why)) {
		if (why.text[0] == '\0') {
			abort();
		}
		return 0;
	}
	pae = dsse_pae(first.payload_type, first.payload, first.payload_length, &pae_length);
	json = dsse_render(&first);
	if (!pae || pae_length <= first.payload_length || !json) {
		abort();
	}
	/* Rendering may be larger than what came in (padding, escapes), so the largest ones may not be read back. */
	if (strlen(json) <= DSSE_ENVELOPE_MAX) {
		if (dsse_parse(json, strlen(json), &second, NULL)
			|| second.payload_length != first.payload_length
			|| memcmp(second.payload, first.payload, first.payload_length) != 0
			|| strcmp(second.payload_type, first.payload_type) != 0
			|| second.signature_count != first.signature_count) {
			abort();
		}
		dsse_free(&second);
	}
	free(json);
	free(pae);
	dsse_free(&first);
	return 0;
}
