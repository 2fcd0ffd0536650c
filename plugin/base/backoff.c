#include "ota/base/backoff.h"

/* SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014): any seed will do, also zero. */
static uint64_t backoff_random(uint64_t *state)
{
	uint64_t mixed;

	*state += UINT64_C(0x9e3779b97f4a7c15);
	mixed = *state;
	mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ (mixed >> 31);
}

int64_t backoff_next(struct backoff *backoff)
{
	/* Never zero, whatever the caller gave: a wait of nothing is a busy loop. */
	int64_t base = backoff->base_ms > 0 ? backoff->base_ms : 1;
	int64_t cap = backoff->cap_ms > base ? backoff->cap_ms : base;
	int64_t last = backoff->last_ms > base ? backoff->last_ms : base;
	int64_t top = last > INT64_MAX / 3 ? INT64_MAX : last * 3;
	uint64_t span = (uint64_t)(top - base) + 1;
	/* The modulo's bias is below 2^-20 for waits of weeks: a wait needs no better. */
	int64_t wait = base + (int64_t)(backoff_random(&backoff->random) % span);

	backoff->last_ms = wait < cap ? wait : cap;
	return backoff->last_ms;
}

void backoff_reset(struct backoff *backoff)
{
	backoff->last_ms = 0;
}
