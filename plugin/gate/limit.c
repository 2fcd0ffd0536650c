#include "ota/gate/limit.h"

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

/* 0 is no name. */
static uint64_t name_of(uint64_t hash)
{
	return hash == 0 ? 1 : hash;
}

void limit_keep(struct limit_kept *kept, uint64_t hash, const struct limit *limit)
{
	if (limit->filled_ms != 0) {
		kept->entries[hash & (LIMIT_KEPT - 1)].name = name_of(hash);
		kept->entries[hash & (LIMIT_KEPT - 1)].limit = *limit;
	}
}

void limit_again(struct limit_kept *kept, uint64_t hash, struct limit *limit)
{
	*limit = (struct limit){ 0 };
	if (kept->entries[hash & (LIMIT_KEPT - 1)].name == name_of(hash)) {
		*limit = kept->entries[hash & (LIMIT_KEPT - 1)].limit;
		kept->entries[hash & (LIMIT_KEPT - 1)].name = 0;
	}
}
