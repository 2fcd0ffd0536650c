/* Releases: from a row nobody trusts to a release that the gate may hand out. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/base/hex.h"
#include "ota/store/pg_array.h"
#include "ota/wire/release.h"

#include "feed_internal.h"

/* Columns of broker_releases. */
enum {
	L_ID,
	L_STATE,
	L_ROW_VERSION,
	L_VERSION,
	L_SEQUENCE,
	L_URL,
	L_SHA256,
	L_SIZE,
	L_NOTES,
	L_ENVELOPE,
	L_SIGNATURE
};

/* The signature column comes as hex; NULL stays NULL. */
static enum ota_err decode_hex(const char *text, uint8_t **bytes, size_t *length)
{
	size_t n = text ? strlen(text) / 2 : 0;
	uint8_t *out;

	*bytes = NULL;
	*length = 0;
	if (!text) {
		return OTA_OK;
	}
	out = malloc(n + 1);
	if (!out) {
		return OTA_ERR_NOMEM;
	}
	if (!hex_read(text, n, out)) {
		free(out);
		return OTA_ERR_INVALID;
	}
	*bytes = out;
	*length = n;
	return OTA_OK;
}

/* A row as it is kept, too. */
static struct warm_record record_of(const PGresult *rows, int n)
{
	return (struct warm_record){
		.kind = WARM_RELEASE,
		.id = pg_int(rows, n, L_ID),
		.version = pg_text(rows, n, L_VERSION),
		.sequence = pg_int(rows, n, L_SEQUENCE),
		.url = pg_text(rows, n, L_URL),
		.sha256 = pg_text(rows, n, L_SHA256),
		.size = pg_int(rows, n, L_SIZE),
		.notes = pg_text(rows, n, L_NOTES),
		.text = pg_text(rows, n, L_ENVELOPE),
		.signature = pg_text(rows, n, L_SIGNATURE),
	};
}

static enum ota_err verify(struct feed *feed, const struct warm_record *record,
	struct release **release, struct ota_why *why)
{
	uint8_t *signature = NULL;
	struct release_unverified row = {
		.release_id = record->id,
		.version = record->version,
		.sequence = record->sequence,
		.url = record->url,
		.sha256 = record->sha256,
		.size = record->size,
		.release_notes = record->notes,
		.envelope = record->text,
	};
	enum ota_err err = decode_hex(record->signature, &signature, &row.signature_length);

	row.signature = signature;
	if (!err) {
		err = release_verify(&row, feed->keyring, feed->options->signature_policy,
			(size_t)feed->options->signature_threshold, release, why);
	}
	free(signature);
	return err;
}

/* The manifest's lists as array parameters; an empty list means any, which is null. */
static const char *list_parameter(struct pg_array *array, const char *const *items, size_t count)
{
	if (count == 0) {
		return NULL;
	}
	pg_array_begin(array);
	for (size_t i = 0; i < count; i++) {
		pg_array_text(array, items[i]);
	}
	return pg_array_end(array);
}

static enum ota_err store_verdict(struct feed *feed, struct pg *pg, int64_t id,
	const struct release *release, const char *reason, struct ota_why *why)
{
	const struct release_terms *terms = release ? &release->manifest->terms : NULL;
	struct pg_array hardware = { 0 };
	struct pg_array fleets = { 0 };
	char texts[3][24];
	const char *values[11] = { feed->options->broker_name, texts[0], release ? "t" : "f", reason };
	enum ota_err err;

	(void)snprintf(texts[0], sizeof(texts[0]), "%" PRId64, id);
	if (terms) {
		values[4] = release->signed_by;
		values[5] = list_parameter(&hardware, terms->hardware, terms->hardware_count);
		values[6] = list_parameter(&fleets, terms->fleets, terms->fleets_count);
		values[7] = terms->min_version;
		values[8] = terms->max_version;
		(void)snprintf(texts[1], sizeof(texts[1]), "%" PRId64, terms->not_before_ms);
		(void)snprintf(texts[2], sizeof(texts[2]), "%" PRId64, terms->expires_ms);
		values[9] = terms->not_before_ms ? texts[1] : NULL;
		values[10] = terms->expires_ms ? texts[2] : NULL;
	}
	err = pg_exec(pg, "SELECT ota.broker_release_verdict($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)", 11,
		values, NULL, why);
	pg_array_free(&hardware);
	pg_array_free(&fleets);
	return err;
}

/* The gate may not hand it out any more, for the time being. */
static enum ota_err withdraw(struct feed *feed, struct known_release *known, struct ota_why *why)
{
	struct change *change;
	enum ota_err err;

	if (!known->at_gate) {
		return OTA_OK;
	}
	change = change_new(CHANGE_RELEASE_GONE);
	if (change) {
		change->release_id = known->id;
	}
	err = feed_push(feed, change, why);
	if (!err) {
		known->at_gate = false;
	}
	return err;
}

static enum ota_err take_from_gate(
	struct feed *feed, struct known_release *known, struct ota_why *why)
{
	warm_put(feed->warm,
		&(const struct warm_record){ .kind = WARM_RELEASE, .gone = true, .id = known->id });
	return withdraw(feed, known, why);
}

static enum ota_err give_to_gate(
	struct feed *feed, struct known_release *known, struct release *release, struct ota_why *why)
{
	struct change *change = change_new(CHANGE_RELEASE);
	enum ota_err err;

	if (change) {
		change->release_id = known->id;
		change->release = release;
	} else {
		release_free(release);
	}
	err = feed_push(feed, change, why);
	if (!err) {
		known->at_gate = true;
	}
	return err;
}

static enum ota_err look_at(struct feed *feed, struct pg *pg, const PGresult *rows, int n,
	struct known_release *known, struct ota_why *why)
{
	const uint64_t keys = feed->keys_read;
	const char *state = pg_text(rows, n, L_STATE);
	const char *version = pg_text(rows, n, L_VERSION);
	const struct warm_record record = record_of(rows, n);
	struct release *release = NULL;
	struct ota_why reason = { "" };
	enum ota_err verified = verify(feed, &record, &release, &reason);
	enum ota_err err;

	if (verified == OTA_ERR_NOMEM) {
		ota_why_set(why, "out of memory");
		return verified;
	}
	err = store_verdict(feed, pg, known->id, release, verified ? reason.text : NULL, why);
	/* While PostgreSQL took its time; what the earlier ones said is not for the gate. */
	if (!err && feed->keys_read != keys) {
		ota_why_set(why, "the trusted keys were read again meanwhile");
		err = OTA_ERR_CONFLICT;
	}
	if (!err && verified) {
		logring_printf(
			feed->log, LOG_LEVEL_WARNING, "release %s is refused: %s", version, reason.text);
		err = take_from_gate(feed, known, why);
	}
	if (!err && !verified && strcmp(state, "verified") == 0) {
		warm_put(feed->warm, &record);
		return give_to_gate(feed, known, release, why);
	}
	if (!err && !verified) {
		logring_printf(feed->log, LOG_LEVEL_NOTICE, "release %s is verified, signed by %s", version,
			release->signed_by);
	}
	release_free(release);
	return err;
}

static enum ota_err drop_unlisted(struct feed *feed, struct ota_why *why)
{
	struct known_release *known;
	struct known_release *next;

	HASH_ITER(hh, feed->releases, known, next) {
		if (known->round != feed->release_round) {
			enum ota_err err = take_from_gate(feed, known, why);

			if (err) {
				return err;
			}
			HASH_DEL(feed->releases, known);
			free(known);
		}
	}
	return OTA_OK;
}

static struct known_release *know_release(struct feed *feed, int64_t id)
{
	struct known_release *known = calloc(1, sizeof(*known));

	if (!known) {
		return NULL;
	}
	known->id = id;
	HASH_ADD(hh, feed->releases, id, sizeof(id), known);
	if (!known->hh.tbl) {
		free(known);
		return NULL;
	}
	return known;
}

enum ota_err feed_releases(struct feed *feed, struct pg *pg, struct ota_why *why)
{
	PGresult *rows = NULL;
	enum ota_err err = pg_exec(pg, "SELECT * FROM ota.broker_releases()", 0, NULL, &rows, why);
	const uint64_t keys = feed->keys_read;
	/* A copy: the ring may be another one before the last row is looked at. */
	char fingerprint[sizeof(((struct known_release *)NULL)->fingerprint)];

	(void)snprintf(fingerprint, sizeof(fingerprint), "%s", keyring_fingerprint(feed->keyring));
	feed->release_round++;
	for (int n = 0; !err && n < PQntuples(rows); n++) {
		int64_t id = pg_int(rows, n, L_ID);
		const char *row_version = pg_text(rows, n, L_ROW_VERSION);
		struct known_release *known = NULL;

		HASH_FIND(hh, feed->releases, &id, sizeof(id), known);
		if (!known) {
			known = know_release(feed, id);
		}
		if (!known) {
			ota_why_set(why, "out of memory");
			err = OTA_ERR_NOMEM;
			break;
		}
		known->round = feed->release_round;
		if (strcmp(known->row_version, row_version) == 0
			&& strcmp(known->fingerprint, fingerprint) == 0) {
			continue;
		}
		err = look_at(feed, pg, rows, n, known, why);
		if (!err) {
			(void)snprintf(known->row_version, sizeof(known->row_version), "%s", row_version);
			(void)snprintf(known->fingerprint, sizeof(known->fingerprint), "%s", fingerprint);
		}
	}
	PQclear(rows);
	if (!err) {
		err = drop_unlisted(feed, why);
	}
	if (!err && !feed->releases_compared) {
		feed_forget_releases(feed);
		feed->releases_compared = true;
	}
	feed->keys_used = err ? feed->keys_used : keys;
	return err;
}

enum ota_err feed_restore_release(
	struct feed *feed, const struct warm_record *record, struct ota_why *why)
{
	struct known_release *known = NULL;
	struct release *release = NULL;
	struct ota_why ignored = { "" };
	enum ota_err err = verify(feed, record, &release, why);

	HASH_FIND(hh, feed->releases, &record->id, sizeof(record->id), known);
	if (!known) {
		known = know_release(feed, record->id);
	}
	if (!known) {
		release_free(release);
		return OTA_ERR_NOMEM;
	}
	if (err) {
		/* It stays in the file: the database may judge it otherwise, or a key may come back; then it is looked at again. */
		known->fingerprint[0] = '\0';
		return withdraw(feed, known, &ignored) ? OTA_ERR_FULL : err;
	}
	return give_to_gate(feed, known, release, &ignored);
}
