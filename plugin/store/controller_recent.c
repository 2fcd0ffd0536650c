/* How many devices were told in the last minute. */
#include <stdlib.h>
#include <string.h>

#include "ota/base/clock.h"

#include "controller_internal.h"

/* Bring the slots up to this second. */
static void recent_roll(struct recent *recent, int64_t second)
{
	if (second - recent->second >= MINUTE_SLOTS) {
		memset(recent->told, 0, sizeof(recent->told));
		recent->second = second;
	}
	while (recent->second < second) {
		recent->second++;
		recent->told[recent->second % MINUTE_SLOTS] = 0;
	}
}

enum ota_err recent_get(struct controller *controller, struct pg *pg, int64_t rollout,
	struct recent **out, struct ota_why *why)
{
	struct recent *recent = NULL;
	int64_t told = 0;
	enum ota_err err;

	HASH_FIND(hh, controller->recents, &rollout, sizeof(rollout), recent);
	if (!recent) {
		err = controller_call(pg, "SELECT ota.controller_told_since($1, interval '1 minute')", 1,
			&rollout, &told, why);
		if (err) {
			return err;
		}
		recent = calloc(1, sizeof(*recent));
		if (!recent) {
			ota_why_set(why, "out of memory");
			return OTA_ERR_NOMEM;
		}
		recent->rollout = rollout;
		recent->second = clock_mono_ms() / 1000;
		recent->told[recent->second % MINUTE_SLOTS] = told;
		HASH_ADD(hh, controller->recents, rollout, sizeof(rollout), recent);
		if (!recent->hh.tbl) {
			free(recent);
			ota_why_set(why, "out of memory");
			return OTA_ERR_NOMEM;
		}
	}
	recent_roll(recent, clock_mono_ms() / 1000);
	*out = recent;
	return OTA_OK;
}

int64_t recent_sum(const struct recent *recent)
{
	int64_t sum = 0;

	for (size_t i = 0; i < MINUTE_SLOTS; i++) {
		sum += recent->told[i];
	}
	return sum;
}

void recent_add(struct recent *recent, int64_t told)
{
	recent->told[recent->second % MINUTE_SLOTS] += told;
}
