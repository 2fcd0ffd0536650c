/* What is kept of the feed for a start without the database, and how it comes back then. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/event.h"
#include "ota/wire/release.h"

#include "feed_internal.h"

enum {
	/* Places in the queue that claims leave free for everything else. */
	CLAIMS_RESERVE = 1024,
};

void feed_set_warm(struct feed *feed, struct warm *warm)
{
	feed->warm = warm;
}

void feed_keep_claim(struct feed *feed, const struct change *offer)
{
	const struct warm_record record = {
		.kind = WARM_CLAIM,
		.id = offer->rollout,
		.release_id = offer->release_id,
		.attempt = offer->attempt,
		.sequence = offer->sequence,
		.at_ms = offer->deadline_ms,
		.device = offer->device,
		.topic = offer->topic,
		.fleet = offer->fleet,
		.hardware = offer->hardware,
		.via = offer->via,
		.version = offer->version,
		.stage = offer->stage,
	};

	if (record.device) {
		warm_put(feed->warm, &record);
	}
}

static struct change *claim_change(const struct warm_record *claim)
{
	struct change *change = change_new(CHANGE_CLAIM);

	if (change) {
		change->device = feed_copy(claim->device);
		change->rollout = claim->id;
		change->attempt = (int32_t)claim->attempt;
		change->release_id = claim->release_id;
		change->stage = feed_copy(claim->stage);
		change->deadline_ms = claim->at_ms;
		change->fleet = feed_copy(claim->fleet);
		change->hardware = feed_copy(claim->hardware);
		change->version = feed_copy(claim->version);
		change->sequence = claim->sequence;
		change->topic = feed_copy(claim->topic);
		change->via = feed_copy(claim->via);
		change->again = true;
	}
	return change;
}

enum ota_err feed_claims(struct feed *feed, struct pg *pg, struct ota_why *why)
{
	const char *values[] = { feed->options->broker_name };
	PGresult *rows = NULL;
	enum ota_err err = pg_exec(pg, "SELECT * FROM ota.broker_claims($1)", 1, values, &rows, why);

	if (err) {
		return err;
	}
	warm_mark_begin(feed->warm);
	for (int n = 0; n < PQntuples(rows); n++) {
		struct change *change = feed_make_offer(rows, n);

		if (change) {
			feed_keep_claim(feed, change);
		}
		change_free(change);
	}
	warm_mark_end(feed->warm, WARM_CLAIM);
	PQclear(rows);
	return OTA_OK;
}

static enum ota_err restore_gateways(struct feed *feed, struct ota_why *why)
{
	struct warm_record record;
	struct change *change;
	enum ota_err err;

	if (!warm_find(feed->warm, WARM_GATEWAYS, 0, NULL, &record)) {
		return OTA_OK;
	}
	change = change_new(CHANGE_GATEWAYS);
	if (change) {
		change->text = feed_copy(record.text);
	}
	err = feed_push(feed, change, why);
	if (!err) {
		free(feed->gateways);
		feed->gateways = feed_copy(record.text);
	}
	return err;
}

void feed_restore_early(struct feed *feed)
{
	struct ota_why ignored;

	(void)!restore_gateways(feed, &ignored);
	(void)!feed_restore_urls(feed, &ignored);
}

/* Has a device answered, going by an event that the database has not seen?  Then it is not told again. */
static void see_event(void *context, const uint8_t *data, size_t size)
{
	struct feed *feed = context;
	struct event event;
	struct warm_record claim;
	struct warm_record release;
	bool over = false;

	if (event_decode(data, size, &event)
		|| !warm_find(feed->warm, WARM_CLAIM, 0, event.device, &claim)) {
		return;
	}
	/* A gateway speaks for its own devices only. */
	if ((event.flags & EVENT_FLAG_VIA) && (!claim.via || strcmp(claim.via, event.fleet) != 0)) {
		return;
	}
	switch (event.kind) {
	case EVENT_REPORT:
		over = event.status != REPORT_IDLE
			|| (event.version[0]
				&& warm_find(feed->warm, WARM_RELEASE, claim.release_id, NULL, &release)
				&& strcmp(event.version, release.version) == 0);
		break;
	case EVENT_UNDELIVERED:
	case EVENT_TOLD:
		over = event.rollout == claim.id && event.attempt == claim.attempt;
		break;
	case EVENT_CONNECTED:
	case EVENT_DISCONNECTED:
	case EVENT_LISTENING:
	case EVENT_MALFORMED:
	case EVENT_DENIED:
		break;
	}
	if (over) {
		warm_claim_over(feed->warm, event.device);
	}
}

/* Verified again, with the keys that count now. */
static bool see_release(void *context, const struct warm_record *record)
{
	struct feed *feed = context;
	struct ota_why reason = { "" };
	enum ota_err err = feed_restore_release(feed, record, &reason);

	if (err == OTA_ERR_FULL) {
		feed->keys_used = feed->keys_read - 1; /* the gate is behind: once more, soon */
		return false;
	}
	if (err && reason.text[0]) {
		logring_printf(feed->log, LOG_LEVEL_WARNING, "release %s is refused: %s", record->version,
			reason.text);
	}
	return true;
}

static bool see_rollout(void *context, const struct warm_record *record)
{
	struct feed *feed = context;
	struct known_rollout *known = NULL;
	struct ota_why ignored;
	struct change *change;

	HASH_FIND(hh, feed->rollouts, &record->id, sizeof(record->id), known);
	if (known || !record->live) {
		return true;
	}
	known = feed_know_rollout(feed, record->id);
	change = known ? change_new(CHANGE_ROLLOUT) : NULL;
	if (change) {
		change->rollout = record->id;
		change->live = true;
		change->serves = true;
		change->until_ms = record->at_ms;
		(void)!feed_push(feed, change, &ignored);
	}
	return true;
}

void feed_restore(struct feed *feed, struct outbox *outbox)
{
	struct ota_why why = { "" };
	size_t claims = warm_count(feed->warm, WARM_CLAIM);

	if (outbox_peek(outbox, see_event, feed, &why)) {
		logring_printf(feed->log, LOG_LEVEL_ERROR,
			"what devices said last cannot be read, so none is told again: %s", why.text);
		return;
	}
	feed_restore_releases(feed);
	warm_each(feed->warm, WARM_ROLLOUT, see_rollout, feed);
	feed->restoring = true;
	feed->restored = 0;
	logring_printf(feed->log, LOG_LEVEL_NOTICE,
		"started without the database: %zu releases, %zu rollouts and %zu devices that were told and have not "
		"answered (of %zu) are known from before",
		warm_count(feed->warm, WARM_RELEASE), warm_count(feed->warm, WARM_ROLLOUT),
		warm_count(feed->warm, WARM_CLAIM), claims);
}

void feed_restore_releases(struct feed *feed)
{
	warm_each(feed->warm, WARM_RELEASE, see_release, feed);
}

static bool forget_release(void *context, const struct warm_record *record)
{
	struct feed *feed = context;
	struct known_release *known = NULL;

	HASH_FIND(hh, feed->releases, &record->id, sizeof(record->id), known);
	if (!known) {
		warm_put(feed->warm,
			&(const struct warm_record){ .kind = WARM_RELEASE, .gone = true, .id = record->id });
	}
	return true;
}

void feed_forget_releases(struct feed *feed)
{
	warm_each(feed->warm, WARM_RELEASE, forget_release, feed);
}

static bool forget_rollout(void *context, const struct warm_record *record)
{
	struct feed *feed = context;
	struct known_rollout *known = NULL;

	HASH_FIND(hh, feed->rollouts, &record->id, sizeof(record->id), known);
	if (!known) {
		warm_put(feed->warm,
			&(const struct warm_record){ .kind = WARM_ROLLOUT, .gone = true, .id = record->id });
	}
	return true;
}

void feed_forget_rollouts(struct feed *feed)
{
	warm_each(feed->warm, WARM_ROLLOUT, forget_rollout, feed);
}

struct claims_round {
	struct feed *feed;
	size_t passed;
	bool full;
};

static bool see_claim(void *context, const struct warm_record *record)
{
	struct claims_round *round = context;
	struct feed *feed = round->feed;
	struct ota_why ignored;

	if (round->passed++ < feed->restored) {
		return true;
	}
	if (queue_room(feed->changes) <= CLAIMS_RESERVE) {
		round->full = true;
		return false;
	}
	feed->restored++;
	/* One that is left out waits for the database. */
	(void)!feed_push(feed, claim_change(record), &ignored);
	return true;
}

bool feed_restore_claims(struct feed *feed)
{
	struct claims_round round = { .feed = feed };

	if (!feed->restoring) {
		return false;
	}
	warm_each(feed->warm, WARM_CLAIM, see_claim, &round);
	feed->restoring = round.full;
	return feed->restoring;
}
