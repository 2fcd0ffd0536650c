/*
 * limit - token buckets: how often something may happen.
 *
 * Thread: broker.  A bucket that is all zero is full.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

struct limit {
	int64_t tokens; /* millionths; counts from `filled_ms` on */
	int64_t filled_ms;
};

struct limit_rule {
	int64_t burst;      /* tokens of a full bucket; 1..2*10^6 */
	int64_t per_minute; /* tokens that come back; 1..10^6 */
};

/* Take a token; false: there is none.  `now_ms` is a monotonic clock's. */
OTA_MUST_USE bool limit_take(struct limit *limit, const struct limit_rule *rule, int64_t now_ms);

enum {
	LIMIT_KEPT = 4096, /* a power of two */
};

/*
 * Buckets of names that went away, so that leaving and coming back fills none.  The newest of two names in one place wins: that costs
 * the older one nothing but its memory; nobody can choose names that push others out (base/keyhash.h).  Fixed in size, whoever comes
 * and goes.  All zero: nothing is kept.  `hash` is keyhash() of the name.
 */
struct limit_kept {
	struct {
		uint64_t name; /* its hash, 1 for 0; 0: free */
		struct limit limit;
	} entries[LIMIT_KEPT];
};

void limit_keep(struct limit_kept *kept, uint64_t hash, const struct limit *limit);
/* The bucket that was kept under this name, and is no longer; else a full one. */
void limit_again(struct limit_kept *kept, uint64_t hash, struct limit *limit);
