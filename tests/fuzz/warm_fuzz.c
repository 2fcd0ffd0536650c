/*
 * warm_fuzz - any bytes as the file of the warm start.
 *
 * The first byte says whether the checksums are made right first, so that what the records say is believed.  Properties: no crash; what is
 * read writes the same bytes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ota/store/warm.h"

#include "../../plugin/store/outbox_internal.h"
#include "../../plugin/store/warm_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool take(
	void *context, const struct warm_record *record, const uint8_t *payload, size_t size)
{
	uint8_t *again = malloc(warm_size(record));

	(void)context;
	if (!again) {
		return false;
	}
	if (warm_size(record) != size) {
		abort();
	}
	warm_encode(record, again);
	if (memcmp(again, payload, size) != 0) {
		abort();
	}
	free(again);
	return true;
}

static void make_right(uint8_t *data, size_t size)
{
	static const uint8_t header[12] = { 'O', 'T', 'A', 'W', 'A', 'R', 'M', 'S', 1 };
	uint32_t chain = outbox_crc(0, header, sizeof(header));
	size_t at = WARM_HEADER_BYTES;

	if (size < WARM_HEADER_BYTES) {
		return;
	}
	memcpy(data, header, sizeof(header));
	memcpy(data + sizeof(header), &chain, sizeof(chain));
	while (size - at >= WARM_FRAME_BYTES) {
		uint32_t length;

		memcpy(&length, data + at, sizeof(length));
		if (length > size - at - WARM_FRAME_BYTES) {
			return;
		}
		chain = outbox_crc(chain, &length, sizeof(length));
		chain = outbox_crc(chain, data + at + WARM_FRAME_BYTES, length);
		memcpy(data + at + sizeof(length), &chain, sizeof(chain));
		at += WARM_FRAME_BYTES + length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);
	uint32_t chain;

	if (!copy || size < 1) {
		free(copy);
		return 0;
	}
	memcpy(copy, data + 1, size - 1);
	if (data[0] & 1) {
		make_right(copy, size - 1);
	}
	(void)!warm_image_read(copy, size - 1, take, NULL, &chain, NULL);
	free(copy);
	return 0;
}
