/* A rollout whose step fails: tried again with growing pauses, and said where operators look. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ota/base/clock.h"

#include "controller_internal.h"

enum {
	PAUSE_FIRST_MS = 1000,
	PAUSE_MAX_MS = 60000,
};

static struct trouble *trouble_of(const struct controller *controller, int64_t rollout)
{
	struct trouble *trouble = NULL;

	HASH_FIND(hh, controller->troubles, &rollout, sizeof(rollout), trouble);
	return trouble;
}

static void forget(struct controller *controller, struct trouble *trouble)
{
	HASH_DEL(controller->troubles, trouble);
	free(trouble);
}

void trouble_reset(struct controller *controller)
{
	struct trouble *trouble;
	struct trouble *next;

	HASH_ITER(hh, controller->troubles, trouble, next) {
		forget(controller, trouble);
	}
}

bool trouble_waits(struct controller *controller, const struct rollout_row *row)
{
	struct trouble *trouble = trouble_of(controller, row->id);

	if (trouble && trouble->state != row->state) {
		/* Somebody has taken it elsewhere: what failed is not tried any more. */
		forget(controller, trouble);
		return false;
	}
	return trouble && clock_mono_ms() < trouble->again_at;
}

enum ota_err trouble_over(
	struct controller *controller, struct pg *pg, int64_t rollout, struct ota_why *why)
{
	struct trouble *trouble = trouble_of(controller, rollout);

	if (!trouble) {
		return OTA_OK;
	}
	forget(controller, trouble);
	return controller_call(
		pg, "SELECT ota.controller_trouble($1, NULL, 0)", 1, &rollout, NULL, why);
}

/* Double the pause of this rollout.  NULL: no memory. */
static struct trouble *trouble_grow(struct controller *controller, const struct rollout_row *row)
{
	struct trouble *trouble = trouble_of(controller, row->id);

	if (!trouble) {
		trouble = calloc(1, sizeof(*trouble));
		if (!trouble) {
			return NULL;
		}
		trouble->rollout = row->id;
		HASH_ADD(hh, controller->troubles, rollout, sizeof(trouble->rollout), trouble);
		if (!trouble->hh.tbl) {
			free(trouble);
			return NULL;
		}
	}
	trouble->state = row->state;
	trouble->pause_ms = trouble->pause_ms == 0 ? PAUSE_FIRST_MS : trouble->pause_ms * 2;
	if (trouble->pause_ms > PAUSE_MAX_MS) {
		trouble->pause_ms = PAUSE_MAX_MS;
	}
	trouble->again_at = clock_mono_ms() + trouble->pause_ms;
	return trouble;
}

enum ota_err trouble_note(struct controller *controller, struct pg *pg,
	const struct rollout_row *row, const char *problem, struct ota_why *why)
{
	const struct trouble *trouble = trouble_grow(controller, row);
	const int64_t pause_ms = trouble ? trouble->pause_ms : 0;
	char id[24];
	char pause[24];
	const char *values[] = { id, problem, pause };
	enum ota_err err;

	logring_printf(controller->log, LOG_LEVEL_WARNING,
		"rollout %" PRId64 " (%s to fleet %s) cannot go on, tried again in %" PRId64 " s: %s",
		row->id, row->version, row->fleet, pause_ms / 1000, problem);
	(void)snprintf(id, sizeof(id), "%" PRId64, row->id);
	(void)snprintf(pause, sizeof(pause), "%" PRId64, pause_ms);
	err = pg_exec(pg, "SELECT ota.controller_trouble($1, $2, $3)", 3, values, NULL, why);
	/* What cannot be written down is in the log. */
	return err == OTA_ERR_UNAVAILABLE || err == OTA_ERR_TIMEOUT ? err : OTA_OK;
}
