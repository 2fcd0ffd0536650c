/*
 * backoff - how long to wait before the next try: exponential with decorrelated jitter.
 *
 * Thread: the caller's.
 * Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("decorrelated jitter").
 */
#pragma once

#include <stdint.h>

struct backoff {
	int64_t base_ms;
	int64_t cap_ms;
	int64_t last_ms; /* 0: fresh */
	uint64_t random; /* state of the generator, seed it with anything */
};

/* The next wait in milliseconds: random in base..3 x the last one, at most cap. */
int64_t backoff_next(struct backoff *backoff);
/* It worked: start over. */
void backoff_reset(struct backoff *backoff);
