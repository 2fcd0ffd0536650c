#include "ota/gate/limit.h"

#include <string.h>

#include "ota/base/keyhash.h"

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

static uint64_t hash_of(const char *name)
{
	uint64_t hash = keyhash(name, strlen(name));

	return hash == 0 ? 1 : hash;
}

void limit_keep(struct limit_kept *kept, const char *name, const struct limit *limit)
{
	uint64_t hash = hash_of(name);

	if (limit->filled_ms != 0) {
		kept->entries[hash & (LIMIT_KEPT - 1)].name = hash;
		kept->entries[hash & (LIMIT_KEPT - 1)].limit = *limit;
	}
}

void limit_again(struct limit_kept *kept, const char *name, struct limit *limit)
{
	uint64_t hash = hash_of(name);

	*limit = (struct limit){ 0 };
	if (kept->entries[hash & (LIMIT_KEPT - 1)].name == hash) {
		*limit = kept->entries[hash & (LIMIT_KEPT - 1)].limit;
		kept->entries[hash & (LIMIT_KEPT - 1)].name = 0;
	}
}
