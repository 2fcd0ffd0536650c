#include "ota/gate/limit.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
	TOKEN = 1000000, /* in a bucket's unit */
	MINUTE_MS = 60000,
};

bool limit_take(struct limit *limit, const struct limit_rule *rule, int64_t now_ms)
{
	int64_t full = rule->burst * TOKEN;
	int64_t passed_ms = now_ms - limit->filled_ms;

	/* Long enough for a full bucket, whatever it was; also the first time, and against an overflow below. */
	if (limit->filled_ms == 0 || passed_ms < 0
		|| passed_ms / MINUTE_MS >= rule->burst / rule->per_minute + 1) {
		limit->tokens = full;
	} else {
		limit->tokens += passed_ms * rule->per_minute * TOKEN / MINUTE_MS;
	}
	limit->filled_ms = now_ms == 0 ? 1 : now_ms;
	if (limit->tokens > full) {
		limit->tokens = full;
	}
	if (limit->tokens < TOKEN) {
		return false;
	}
	limit->tokens -= TOKEN;
	return true;
}

void limit_kept_init(struct limit_kept *kept)
{
	memset(kept, 0, sizeof(*kept));
	if (getrandom(&kept->seed, sizeof(kept->seed), GRND_NONBLOCK) != (ssize_t)sizeof(kept->seed)) {
		kept->seed = (uint64_t)time(NULL) ^ (uint64_t)(uintptr_t)kept;
	}
}

/* FNV-1a from a secret start, then mixed (the finalizer of MurmurHash3): places must not be foreseeable. */
static uint64_t hash_of(const struct limit_kept *kept, const char *name)
{
	uint64_t hash = UINT64_C(14695981039346656037) ^ kept->seed;

	for (; *name != '\0'; name++) {
		hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
	}
	hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
	hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	hash ^= hash >> 33;
	return hash == 0 ? 1 : hash;
}

void limit_keep(struct limit_kept *kept, const char *name, const struct limit *limit)
{
	uint64_t hash = hash_of(kept, name);

	if (limit->filled_ms != 0) {
		kept->entries[hash & (LIMIT_KEPT - 1)].name = hash;
		kept->entries[hash & (LIMIT_KEPT - 1)].limit = *limit;
	}
}

void limit_again(struct limit_kept *kept, const char *name, struct limit *limit)
{
	uint64_t hash = hash_of(kept, name);

	*limit = (struct limit){ 0 };
	if (kept->entries[hash & (LIMIT_KEPT - 1)].name == hash) {
		*limit = kept->entries[hash & (LIMIT_KEPT - 1)].limit;
		kept->entries[hash & (LIMIT_KEPT - 1)].name = 0;
	}
}
