#include "ota/store/feed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/base/clock.h"

#include "feed_internal.h"

enum {
	/* Places in the queue that offers leave free for everything else. */
	QUEUE_RESERVE = 256,
	HAND_OUT_MAX = 2000,
	/* The first of a stage are few, so that the broker has something to do while more are claimed. */
	HAND_OUT_FIRST = 250,
	/* A page of a stage costs the database a third of what a claim of as many does: twice as many are there as soon. */
	PAGE_FIRST = 500,
	PAGE_GROWS = 4,
	/* Nobody is claimed after a halt has committed, so nobody is told later than this after it, by a broker that is cut off or frozen
	 * neither. */
	TELL_WITHIN_MS = 20000,
	RECALLS_MAX = 1000,
};

static void warn_keys(struct feed *feed)
{
	const size_t keys = keyring_count(feed->keyring);

	if (keys > 0 && feed->options->signature_policy != SIGNATURE_POLICY_ARTIFACT
		&& (size_t)feed->options->signature_threshold > keys) {
		logring_printf(feed->log, LOG_LEVEL_WARNING,
			"plugin_opt_signature_threshold is %d, usable keys in %s: %zu; no release can be verified until there are enough",
			(int)feed->options->signature_threshold, feed->options->trusted_keys, keys);
	}
	if (keyring_directory_open(feed->options->trusted_keys)) {
		logring_printf(feed->log, LOG_LEVEL_WARNING,
			"key directory %s may be written by others: whoever puts a key there is trusted; chmod o-w",
			feed->options->trusted_keys);
	}
}

struct feed *feed_new(const struct options *options, struct keyring *keyring,
	struct credentials *credentials, struct queue *changes, struct logring *log)
{
	struct feed *feed = calloc(1, sizeof(*feed));

	if (feed) {
		feed->options = options;
		feed->keyring = keyring;
		feed->credentials = credentials;
		feed->changes = changes;
		feed->log = log;
		warn_keys(feed);
	}
	return feed;
}

void feed_free(struct feed *feed)
{
	struct known_release *release;
	struct known_release *next_release;
	struct known_rollout *rollout;
	struct known_rollout *next_rollout;

	if (!feed) {
		return;
	}
	HASH_ITER(hh, feed->releases, release, next_release) {
		HASH_DEL(feed->releases, release);
		free(release);
	}
	HASH_ITER(hh, feed->rollouts, rollout, next_rollout) {
		HASH_DEL(feed->rollouts, rollout);
		free(rollout->report);
		free(rollout);
	}
	keyring_free(feed->keyring);
	credentials_free(feed->credentials);
	free(feed->urls);
	free(feed->gateways);
	free(feed);
}

static void note_key(void *context, const char *file, const char *reason)
{
	struct feed *feed = context;

	logring_printf(feed->log, LOG_LEVEL_WARNING, "key %s is not used: %s", file, reason);
}

static void reload_keys(struct feed *feed)
{
	struct keyring *keyring = NULL;
	struct ota_why why = { "" };
	enum ota_err err = keyring_load(feed->options->trusted_keys, note_key, feed, &keyring, &why);

	/* The last key has left the directory: it is revoked like any other.  A directory that cannot be read revokes nothing. */
	if (err == OTA_ERR_INVALID) {
		logring_printf(feed->log, LOG_LEVEL_ERROR, "nothing is trusted any more: %s", why.text);
		err = keyring_none(&keyring);
	}
	if (err) {
		logring_printf(feed->log, LOG_LEVEL_ERROR,
			"the trusted keys were not read again, the earlier ones stay: %s", why.text);
		return;
	}
	keyring_free(feed->keyring);
	feed->keyring = keyring;
	feed->keys_read++;
	warn_keys(feed);
	logring_printf(
		feed->log, LOG_LEVEL_NOTICE, "trusted keys were read, usable: %zu", keyring_count(keyring));
}

void feed_reload(struct feed *feed)
{
	reload_keys(feed);
	feed_reload_credentials(feed);
}

void feed_without_database(struct feed *feed)
{
	if (feed->keys_used != feed->keys_read) {
		feed->keys_used = feed->keys_read;
		feed_restore_releases(feed);
	}
	feed_renew_urls(feed);
}

enum ota_err feed_push(struct feed *feed, struct change *change, struct ota_why *why)
{
	if (!change) {
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	if (!queue_push(feed->changes, change)) {
		change_free(change);
		ota_why_set(why, "the broker's thread is behind");
		return OTA_ERR_FULL;
	}
	return OTA_OK;
}

char *feed_copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

enum ota_err feed_gateways(struct feed *feed, struct pg *pg, struct ota_why *why)
{
	PGresult *rows = NULL;
	const char *names;
	struct change *change;
	char *copy;
	enum ota_err err = pg_exec(pg, "SELECT ota.broker_gateways()", 0, NULL, &rows, why);

	if (err) {
		return err;
	}
	names = PQntuples(rows) > 0 ? pg_text(rows, 0, 0) : NULL;
	names = names ? names : "";
	/* The first list is told even when it is empty: the gate waits for it. */
	if (feed->gateways && strcmp(names, feed->gateways) == 0) {
		goto out;
	}
	copy = strdup(names);
	change = copy ? change_new(CHANGE_GATEWAYS) : NULL;
	if (change) {
		change->text = feed_copy(names);
	}
	err = feed_push(feed, change, why);
	if (err) {
		free(copy);
		goto out;
	}
	free(feed->gateways);
	feed->gateways = copy;
	warm_put(feed->warm, &(const struct warm_record){ .kind = WARM_GATEWAYS, .text = copy });
out:
	PQclear(rows);
	return err;
}

static enum ota_err hand_out_recalls(
	struct feed *feed, struct pg *pg, bool *more, struct ota_why *why)
{
	char limit[16];
	const char *values[] = { feed->options->broker_name, limit };
	PGresult *rows = NULL;
	enum ota_err err;

	(void)snprintf(limit, sizeof(limit), "%d", RECALLS_MAX);
	if (queue_room(feed->changes) < RECALLS_MAX) {
		*more = true;
		return OTA_OK;
	}
	err = pg_exec(pg, "SELECT * FROM ota.broker_recalls($1, $2::int)", 2, values, &rows, why);
	for (int n = 0; !err && n < PQntuples(rows); n++) {
		struct change *change = change_new(CHANGE_RECALL);

		if (change) {
			change->device = feed_copy(pg_text(rows, n, 0));
			change->rollout = pg_int(rows, n, 1);
			change->version = feed_copy(pg_text(rows, n, 2));
			change->topic = feed_copy(pg_text(rows, n, 3));
			change->via = feed_copy(pg_text(rows, n, 4));
		}
		warm_claim_over(feed->warm, pg_text(rows, n, 0));
		err = feed_push(feed, change, why);
	}
	if (!err && PQntuples(rows) == RECALLS_MAX) {
		*more = true;
	}
	PQclear(rows);
	return err;
}

/* Columns of broker_claim. */
enum {
	O_DEVICE,
	O_ROLLOUT,
	O_ATTEMPT,
	O_RELEASE,
	O_LABEL,
	O_DEADLINE,
	O_FLEET,
	O_HARDWARE,
	O_VERSION,
	O_SEQUENCE,
	O_TOPIC,
	O_AGAIN,
	O_VIA,
	O_AT,
	O_SAID
};

struct change *feed_make_offer(const PGresult *rows, int n)
{
	struct change *change = change_new(CHANGE_OFFER);

	if (change) {
		change->device = feed_copy(pg_text(rows, n, O_DEVICE));
		change->rollout = pg_int(rows, n, O_ROLLOUT);
		change->attempt = (int32_t)pg_int(rows, n, O_ATTEMPT);
		change->release_id = pg_int(rows, n, O_RELEASE);
		change->stage = feed_copy(pg_text(rows, n, O_LABEL));
		change->deadline_ms = pg_int(rows, n, O_DEADLINE);
		change->fleet = feed_copy(pg_text(rows, n, O_FLEET));
		change->hardware = feed_copy(pg_text(rows, n, O_HARDWARE));
		change->version = feed_copy(pg_text(rows, n, O_VERSION));
		change->sequence = pg_int(rows, n, O_SEQUENCE);
		change->topic = feed_copy(pg_text(rows, n, O_TOPIC));
		change->via = feed_copy(pg_text(rows, n, O_VIA));
	}
	return change;
}

bool feed_has_room(const struct feed *feed)
{
	return queue_room(feed->changes) >= QUEUE_RESERVE + 2 * (size_t)HAND_OUT_MAX;
}

/* Claim up to `limit` devices; the audit rows are the database's business. */
static enum ota_err claim_few(
	struct pg *pg, const char *const *values, PGresult **rows, struct ota_why *why)
{
	/* One statement, one transaction: once it is back it is committed, and only then is anybody told. */
	return pg_exec(
		pg, "SELECT * FROM ota.broker_claim($1, $2::int, $3::bool)", 3, values, rows, why);
}

/* Whom `sql` gives, which is many: their audit rows are hashed here, which would be a third of what they cost the database. */
static enum ota_err take_many(struct pg *pg, struct fold *fold, const char *sql, int count,
	const char *const *values, PGresult **rows, struct ota_why *why)
{
	struct ota_why ignored;
	enum ota_err err = pg_script(pg, "BEGIN", why);

	if (!err) {
		err = pg_exec(pg, sql, count, values, rows, why);
	}
	if (!err && PQntuples(*rows) > 0) {
		err = fold_note_begin(fold, why);
		for (int n = 0; !err && n < PQntuples(*rows); n++) {
			fold_note(fold, pg_int(*rows, n, O_AT), pg_text(*rows, n, O_DEVICE),
				pg_int(*rows, n, O_ROLLOUT), "notified", pg_text(*rows, n, O_SAID));
		}
		err = err ? err : fold_note_write(fold, pg, why);
	}
	/* Only when this is back is anybody told. */
	err = err ? err : pg_script(pg, "COMMIT", why);
	if (err) {
		(void)!pg_script(pg, "ROLLBACK", &ignored);
		PQclear(*rows);
		*rows = NULL;
	}
	return err;
}

void feed_opened(struct feed *feed)
{
	feed->opened = true;
	feed->turn = PAGE_FIRST;
}

/* The next page of a stage that this broker has opened, or else what it can claim. */
static enum ota_err take(struct feed *feed, struct pg *pg, struct fold *fold,
	const char *const *values, PGresult **rows, struct ota_why *why)
{
	enum ota_err err = OTA_OK;

	if (feed->opened) {
		err = take_many(
			pg, fold, "SELECT * FROM ota.broker_hand_out($1, $2::int)", 2, values, rows, why);
		if (err || PQntuples(*rows) > 0) {
			return err;
		}
		feed->opened = false;
		PQclear(*rows);
		*rows = NULL;
	}
	return feed->turn > HAND_OUT_FIRST ? take_many(pg, fold,
			   "SELECT * FROM ota.broker_claim($1, $2::int, $3::bool, false)", 3, values, rows, why)
									   : claim_few(pg, values, rows, why);
}

enum ota_err feed_hand_out(struct feed *feed, struct pg *pg, struct fold *fold, bool again,
	bool *more, struct ota_why *why)
{
	char limit[24];
	const char *values[] = { feed->options->broker_name, limit, again ? "t" : "f" };
	PGresult *rows = NULL;
	size_t room;
	int64_t by_ms;
	enum ota_err err = feed_end_rollouts(feed, pg, why);

	*more = false;
	if (!err) {
		err = hand_out_recalls(feed, pg, more, why);
	}
	if (err) {
		return err;
	}
	room = queue_room(feed->changes);
	/* A claim may give twice the limit: newly granted devices and returned ones. */
	room = room > QUEUE_RESERVE ? (room - QUEUE_RESERVE) / 2 : 0;
	if (room == 0) {
		*more = true;
		return OTA_OK;
	}
	feed->turn = feed->turn < HAND_OUT_FIRST ? HAND_OUT_FIRST : feed->turn;
	room = room < feed->turn ? room : feed->turn;
	(void)snprintf(limit, sizeof(limit), "%zu", room);
	by_ms = clock_mono_ms() + TELL_WITHIN_MS;
	err = take(feed, pg, fold, values, &rows, why);
	for (int n = 0; !err && n < PQntuples(rows); n++) {
		struct change *change = feed_make_offer(rows, n);

		if (change) {
			change->by_ms = by_ms;
			change->more = feed->opened && (size_t)PQntuples(rows) == room;
			feed_keep_claim(feed, change);
		}
		err = feed_push(feed, change, why);
	}
	if (!err && (feed->opened || (size_t)PQntuples(rows) >= room)) {
		*more = true;
		feed->turn *= feed->opened ? PAGE_GROWS : 2;
		feed->turn = feed->turn < HAND_OUT_MAX ? feed->turn : HAND_OUT_MAX;
	} else {
		feed->turn = HAND_OUT_FIRST;
	}
	PQclear(rows);
	return err;
}
