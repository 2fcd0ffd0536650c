#include "ota/store/written.h"

void written_begin(struct written *written, int64_t now_ms, uint64_t pending)
{
	/* The marked moment must come before the next one is marked: else a stream would push it on for ever. */
	if (written->mark_left == 0) {
		written->mark_ms = now_ms;
		written->mark_left = pending;
	}
}

void written_add(struct written *written, uint64_t count)
{
	written->mark_left -= count < written->mark_left ? count : written->mark_left;
	if (written->mark_left == 0) {
		written->until_ms = written->mark_ms;
	}
}

void written_all(struct written *written, int64_t now_ms)
{
	written->mark_left = 0;
	written->until_ms = now_ms;
}

int64_t written_behind_ms(const struct written *written, int64_t now_ms)
{
	return written->until_ms ? now_ms - written->until_ms : INT64_MAX;
}
