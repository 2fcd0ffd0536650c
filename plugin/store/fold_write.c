/* The rows of a batch: what becomes of it, and its way into PostgreSQL. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ota/wire/jsonb.h"

#include "fold_internal.h"

/* In the database's own words where they are certain, so that their hash can be computed here. */
static void put_detail(struct fold *fold, const char *detail)
{
	struct pg_binary *column = &fold->columns[E_DETAIL];
	size_t length = strlen(detail);
	char *out = pg_binary_open(column, jsonb_room(length));
	size_t used = out ? jsonb_text(detail, length, out) : 0;

	if (used > 0) {
		pg_binary_close(column, used);
	} else {
		fold->uncertain = true;
		pg_binary_bytes(column, detail, length);
	}
}

void fold_rows_audit(struct fold *fold, int64_t at_ms, const char *device, int64_t rollout,
	const char *kind, const char *detail)
{
	struct pg_binary *columns = fold->columns;

	pg_binary_int(&columns[E_AT], at_ms);
	pg_binary_text(&columns[E_DEVICE], device);
	pg_binary_int_or_null(&columns[E_ROLLOUT], rollout, 0);
	pg_binary_text(&columns[E_KIND], kind);
	put_detail(fold, detail);
}

static bool unchanged(const char *value, const char *old)
{
	return !value || (old && strcmp(value, old) == 0);
}

/* Has it said what is known of it already, from where it is known to be? */
static bool only_seen(const struct fold_device *device)
{
	return device->here && device->connected == 1 && device->listening == FOLD_UNCHANGED
		&& device->session == device->old_session && device->version
		&& unchanged(device->version, device->old_version)
		&& unchanged(device->hardware, device->old_hardware)
		&& unchanged(device->boot_id, device->old_boot_id) && !device->is_new && !device->fleet
		&& !device->topic;
}

static bool seen_lately(const struct fold_device *device)
{
	return device->old_seen_ms > 0 && device->seen_ms - device->old_seen_ms < FOLD_SEEN_MS;
}

static void put_device(struct fold *fold, const struct fold_device *device)
{
	struct pg_binary *columns = fold->columns;

	if (only_seen(device)) {
		pg_binary_text(&columns[S_ID], device->id);
		/* Its last word always counts, because who goes, or says something new, is written in full. */
		if (seen_lately(device)) {
			pg_binary_null(&columns[S_SEEN]);
		} else {
			pg_binary_int(&columns[S_SEEN], device->seen_ms);
		}
		return;
	}
	pg_binary_text(&columns[D_ID], device->id);
	pg_binary_bool(&columns[D_NEW], device->is_new);
	pg_binary_text(&columns[D_FLEET], device->fleet);
	pg_binary_text(&columns[D_FLEET_FROM], device->fleet_from);
	pg_binary_text(&columns[D_HARDWARE], device->hardware);
	pg_binary_text(&columns[D_VERSION], device->version);
	pg_binary_bool(&columns[D_CONNECTED], device->connected);
	pg_binary_bool(&columns[D_LISTENING], device->listening);
	pg_binary_int_or_null(&columns[D_SESSION], device->session, 0);
	pg_binary_text(&columns[D_TOPIC], device->topic);
	pg_binary_int(&columns[D_SEEN], device->seen_ms);
	pg_binary_text(&columns[D_BOOT], device->boot_id);
}

static void put_update(struct fold *fold, const struct fold_device *device)
{
	struct pg_binary *columns = fold->columns;
	const struct update_facts *facts = &device->facts;

	pg_binary_int(&columns[U_ROLLOUT], device->rollout);
	pg_binary_text(&columns[U_DEVICE], device->id);
	pg_binary_text(&columns[U_STATE], update_state_name(facts->state));
	pg_binary_int(&columns[U_ATTEMPT], facts->attempt);
	pg_binary_int(&columns[U_RETRIES], facts->retries_used);
	pg_binary_int(&columns[U_FAILED], device->failed);
	pg_binary_int(&columns[U_TOLD], facts->told_session);
	pg_binary_int(&columns[U_BOOTS], facts->boots);
	pg_binary_int_or_null(&columns[U_BOOTS_SINCE], facts->boots_since_ms, 0);
	pg_binary_int_or_null(&columns[U_NOT_BEFORE], facts->not_before_ms, 0);
	pg_binary_int_or_null(&columns[U_DEADLINE], facts->deadline_ms, 0);
	pg_binary_text(&columns[U_ERROR], facts->error[0] ? facts->error : NULL);
	pg_binary_int_or_null(&columns[U_RETELL], device->retell_ms, 0);
	pg_binary_int(&columns[U_AT], device->step_ms);
}

enum ota_err fold_note_begin(struct fold *fold, struct ota_why *why)
{
	enum ota_err err = fold_rows_begin(fold, 0);

	if (err) {
		ota_why_set(why, "out of memory");
	}
	return err;
}

void fold_note(struct fold *fold, int64_t at_ms, const char *device, int64_t rollout,
	const char *kind, const char *detail)
{
	fold_rows_audit(fold, at_ms, device, rollout, kind, detail);
}

enum ota_err fold_note_write(struct fold *fold, struct pg *pg, struct ota_why *why)
{
	return fold_rows_write(fold, pg, 0, why);
}

enum ota_err fold_rows_write(
	struct fold *fold, struct pg *pg, uint64_t sequence, struct ota_why *why)
{
	enum {
		MORE = 5 /* chain, position, hash, numbers, hashes */
	};
	const char *values[2 + W_COLUMNS + MORE];
	int lengths[2 + W_COLUMNS + MORE] = { 0 };
	int formats[2 + W_COLUMNS + MORE] = { 0 };
	struct fold_chain_end end = { .known = false };
	char sequence_text[24];
	size_t n = 0;
	enum ota_err err;

	for (size_t i = 0; i < HASH_COUNT(fold->devices); i++) {
		const struct fold_device *device = &fold->pool[i];

		if (device->known && device->touched) {
			put_device(fold, device);
		}
		if (device->update_touched) {
			put_update(fold, device);
		}
	}
	err = fold_chain(fold, pg, &end, why);
	if (err) {
		return err;
	}
	(void)snprintf(sequence_text, sizeof(sequence_text), "%" PRIu64, sequence);
	values[n++] = fold->broker;
	values[n++] = sequence ? sequence_text : NULL;
	for (size_t i = 0; i < W_COLUMNS; i++, n++) {
		values[n] = pg_binary_end(&fold->columns[i], &lengths[n]);
		formats[n] = 1;
	}
	values[n++] = end.known ? end.chain : NULL;
	values[n++] = end.known ? end.position : NULL;
	values[n++] = end.known ? end.hash : NULL;
	for (size_t i = E_ID; i <= E_HASH; i++, n++) {
		values[n] = pg_binary_end(&fold->columns[i], &lengths[n]);
		formats[n] = 1;
	}
	for (size_t i = 0; i < F_COLUMNS; i++) {
		if (fold->columns[i].failed) {
			ota_why_set(why, "out of memory");
			return OTA_ERR_NOMEM;
		}
	}
	return pg_exec_binary(pg,
		"SELECT ota.broker_write($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,"
		"$20,$21,$22,$23,$24,$25,$26,$27,$28,$29,$30,$31,$32,$33,$34,$35,$36,$37,$38,$39,$40)",
		(int)n, values, lengths, formats, NULL, why);
}
