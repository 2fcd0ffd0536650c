#include "ota/store/gather.h"

/* No (more) waiting: what is there now is written first. */
static int64_t begin(struct gather *gather, uint64_t pending)
{
	gather->until_ms = 0;
	gather->look_ms = 0;
	/* Those that are left are among them; where not, some of them were damaged. */
	if (gather->left == 0 || gather->left > pending) {
		gather->left = pending;
	}
	return 0;
}

int64_t gather_wait_ms(struct gather *gather, int64_t now_ms, uint64_t pending)
{
	int64_t wait_ms = gather->until_ms - now_ms;

	if (wait_ms <= 0) {
		return begin(gather, pending);
	}
	if (gather->look_ms == 0) {
		return pending >= gather->enough ? begin(gather, pending) : wait_ms;
	}
	if (pending >= GATHER_STORM_ENOUGH) {
		return begin(gather, pending);
	}
	if (now_ms >= gather->look_ms) {
		if (pending < gather->seen + GATHER_LOOK_RECORDS) {
			return begin(gather, pending);
		}
		gather->seen = pending;
		gather->look_ms = now_ms + GATHER_LOOK_MS;
	}
	return gather->look_ms - now_ms < wait_ms ? gather->look_ms - now_ms : wait_ms;
}

void gather_wrote(struct gather *gather, int64_t began_ms, int64_t now_ms, uint64_t records,
	uint64_t presence, uint64_t pending)
{
	gather->left -= records < gather->left ? records : gather->left;
	if (gather->left > 0) {
		return;
	}
	if (presence >= GATHER_STORM_FROM && presence >= records / 2) {
		gather->until_ms = began_ms + GATHER_STORM_MS;
		gather->look_ms = now_ms + GATHER_LOOK_MS;
		gather->seen = pending;
	} else if (records >= GATHER_FLOOD_FROM) {
		gather->until_ms = began_ms + GATHER_FLOOD_MS;
		gather->enough = GATHER_FLOOD_ENOUGH;
	} else if (records >= GATHER_STREAM_FROM) {
		gather->until_ms = began_ms + GATHER_STREAM_MS;
		gather->enough = GATHER_STREAM_ENOUGH;
	}
}

void gather_reset(struct gather *gather)
{
	*gather = (struct gather){ 0 };
}
