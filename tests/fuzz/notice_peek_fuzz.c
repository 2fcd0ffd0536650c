/* Any bytes may be about to be delivered. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "ota/wire/notice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int64_t rollout = -1;
	int32_t attempt = -1;

	if (notice_peek(data, size, &rollout, &attempt)) {
		if (rollout != -1 || attempt != -1) {
			abort();
		}
	} else if (rollout < 1 || attempt < 0) {
		abort();
	}
	return 0;
}
