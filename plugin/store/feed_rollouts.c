#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/store/feed.h"

#include "feed_internal.h"

struct known_rollout *feed_know_rollout(struct feed *feed, int64_t id)
{
	struct known_rollout *known = calloc(1, sizeof(*known));

	if (!known) {
		return NULL;
	}
	known->id = id;
	HASH_ADD(hh, feed->rollouts, id, sizeof(id), known);
	if (!known->hh.tbl) {
		free(known);
		return NULL;
	}
	return known;
}

static void keep_rollout(struct feed *feed, const struct known_rollout *known)
{
	const struct warm_record record = { .kind = WARM_ROLLOUT,
		.gone = !known->live,
		.live = known->live,
		.id = known->id,
		.at_ms = known->until_ms };

	warm_put(feed->warm, &record);
}

enum ota_err feed_rollouts(struct feed *feed, struct pg *pg, struct ota_why *why)
{
	PGresult *rows = NULL;
	enum ota_err err = pg_exec(pg, "SELECT * FROM ota.broker_rollouts()", 0, NULL, &rows, why);

	feed->round++;
	for (int n = 0; !err && n < PQntuples(rows); n++) {
		int64_t id = pg_int(rows, n, 0);
		bool live = pg_bool(rows, n, 1);
		const char *report = pg_text(rows, n, 2);
		int64_t until_ms = pg_int(rows, n, 3);
		bool serves = pg_bool(rows, n, 4);
		struct known_rollout *known = NULL;
		struct change *change;

		HASH_FIND(hh, feed->rollouts, &id, sizeof(id), known);
		if (!known) {
			known = feed_know_rollout(feed, id);
		}
		if (!known) {
			ota_why_set(why, "out of memory");
			err = OTA_ERR_NOMEM;
			break;
		}
		known->round = feed->round;
		if (known->report && report && strcmp(known->report, report) == 0 && known->live == live
			&& known->serves == serves && known->until_ms == until_ms) {
			continue;
		}
		change = change_new(CHANGE_ROLLOUT);
		if (change) {
			change->rollout = id;
			change->live = live;
			change->serves = serves;
			change->until_ms = until_ms;
			change->text = feed_copy(report);
		}
		err = feed_push(feed, change, why);
		if (!err) {
			free(known->report);
			known->report = feed_copy(report);
			known->live = live;
			known->serves = serves;
			known->until_ms = until_ms;
			keep_rollout(feed, known);
		}
	}
	if (!err && !feed->rollouts_compared) {
		feed_forget_rollouts(feed);
		feed->rollouts_compared = true;
	}
	PQclear(rows);
	return err;
}

/* Nothing of this rollout may be delivered any more; `report`: what $SYS says of it from now on, "": nothing, NULL: as before. */
static enum ota_err push_over(
	struct feed *feed, int64_t id, const char *report, struct ota_why *why)
{
	struct change *change = change_new(CHANGE_ROLLOUT);

	if (change) {
		change->rollout = id;
		change->text = report ? feed_copy(report) : NULL;
	}
	return feed_push(feed, change, why);
}

/*
 * What $SYS said of it last was that it is running: it says how it ended instead, else dashboards show it for ever.  Of a single
 * device's rollout the message goes away then, because there is one for each device that was ever pinned.
 */
static enum ota_err last_words(struct feed *feed, struct pg *pg, int64_t id, struct ota_why *why)
{
	char number[24];
	const char *values[] = { number };
	PGresult *rows = NULL;
	bool stays;
	enum ota_err err;

	(void)snprintf(number, sizeof(number), "%" PRId64, id);
	err = pg_exec(pg,
		"SELECT row_to_json(p)::text, p.device_id IS NULL FROM ota.rollout_progress p WHERE p.rollout_id = $1::bigint",
		1, values, &rows, why);
	stays = !err && PQntuples(rows) > 0 && pg_bool(rows, 0, 1);
	if (!err && PQntuples(rows) > 0) {
		err = push_over(feed, id, pg_text(rows, 0, 0), why);
	}
	if (!err && !stays) {
		err = push_over(feed, id, "", why);
	}
	PQclear(rows);
	return err;
}

enum ota_err feed_end_rollouts(struct feed *feed, struct pg *pg, struct ota_why *why)
{
	struct known_rollout *known;
	struct known_rollout *next;

	HASH_ITER(hh, feed->rollouts, known, next) {
		if (known->round != feed->round) {
			enum ota_err err = push_over(feed, known->id, NULL, why);

			if (!err && known->report) {
				err = last_words(feed, pg, known->id, why);
			}
			if (err) {
				return err;
			}
			known->live = false;
			keep_rollout(feed, known);
			HASH_DEL(feed->rollouts, known);
			free(known->report);
			free(known);
		}
	}
	return OTA_OK;
}
