/*
 * backoff - how long to wait before the next try: exponential with decorrelated jitter.
 *
 * Thread: the caller's; the struct is the caller's too, and owns nothing.
 * Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("decorrelated jitter").
 */
#pragma once

#include <stdint.h>

struct backoff {
	int64_t base_ms; /* shortest wait; below 1 counts as 1 */
	int64_t cap_ms;  /* longest wait; below base_ms counts as base_ms */
	int64_t last_ms; /* 0: fresh */
	uint64_t
		random; /* state of the generator; seed it with anything that differs between brokers */
};

/*
 * The next wait in milliseconds: random from base to three times the last wait (fresh: three times base), at most cap.
 * Never below 1, whatever the settings, so that it cannot become a busy loop.
 */
int64_t backoff_next(struct backoff *backoff);
/* It worked: the next wait starts from base again. */
void backoff_reset(struct backoff *backoff);
