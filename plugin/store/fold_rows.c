/* The rows of a batch: their way out of PostgreSQL and back. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fold_internal.h"

enum ota_err fold_rows_begin(struct fold *fold, size_t count)
{
	HASH_CLEAR(hh, fold->devices);
	PQclear(fold->facts);
	fold->facts = NULL;
	cJSON_Delete(fold->said);
	fold->said = NULL;
	fold->failed = false;
	if (count > fold->pool_size) {
		struct fold_device *pool = realloc(fold->pool, count * sizeof(*pool));

		if (!pool) {
			return OTA_ERR_NOMEM;
		}
		fold->pool = pool;
		fold->pool_size = count;
	}
	pg_array_begin(&fold->ids);
	for (size_t i = 0; i < D_COLUMNS; i++) {
		pg_array_begin(&fold->device_columns[i]);
	}
	for (size_t i = 0; i < U_COLUMNS; i++) {
		pg_array_begin(&fold->update_columns[i]);
	}
	for (size_t i = 0; i < E_COLUMNS; i++) {
		pg_array_begin(&fold->event_columns[i]);
	}
	return OTA_OK;
}

struct fold_device *fold_rows_device(struct fold *fold, const char *id)
{
	struct fold_device *device = NULL;
	size_t length = strlen(id);

	HASH_FIND(hh, fold->devices, id, length, device);
	if (!device) {
		device = &fold->pool[HASH_COUNT(fold->devices)];
		memset(device, 0, sizeof(*device));
		device->id = id;
		device->connected = FOLD_UNCHANGED;
		device->listening = FOLD_UNCHANGED;
		pg_array_text(&fold->ids, id);
		HASH_ADD_KEYPTR(hh, fold->devices, device->id, length, device);
		if (!device->hh.tbl) {
			fold->failed = true;
		}
	}
	return device;
}

/* Columns of broker_read. */
enum {
	R_N,
	R_KNOWN,
	R_FLEET,
	R_FLEET_FROM,
	R_VERSION,
	R_SESSION,
	R_CONNECTED,
	R_LISTENING,
	R_ROLLOUT,
	R_ATTEMPT,
	R_STATE,
	R_RETRIES_USED,
	R_TOLD_SESSION,
	R_BOOTS,
	R_BOOTS_SINCE,
	R_DEADLINE,
	R_NOT_BEFORE,
	R_ERROR,
	R_RETELL,
	R_TARGET,
	R_DOWNLOAD,
	R_HEALTH,
	R_RETRIES,
	R_REBOOT,
	R_GATEWAY,
	R_BOOT_ID,
	R_TOLD_BY,
	R_STEP,
	R_FINAL
};

static enum ota_err read_update(
	struct fold_device *device, const PGresult *facts, int row, struct ota_why *why)
{
	const char *state = pg_text(facts, row, R_STATE);
	const char *error = pg_text(facts, row, R_ERROR);

	if (!state || !update_state_parse(state, &device->facts.state)) {
		ota_why_set(why, "device \"%s\" has an unknown update state \"%s\"", device->id,
			state ? state : "");
		return OTA_ERR_STATE;
	}
	device->rollout = pg_int(facts, row, R_ROLLOUT);
	device->facts.attempt = (int32_t)pg_int(facts, row, R_ATTEMPT);
	device->facts.retries_used = (int32_t)pg_int(facts, row, R_RETRIES_USED);
	device->facts.told_session = pg_int(facts, row, R_TOLD_SESSION);
	device->facts.boots = (int32_t)pg_int(facts, row, R_BOOTS);
	device->facts.boots_since_ms = pg_int(facts, row, R_BOOTS_SINCE);
	device->facts.deadline_ms = pg_int(facts, row, R_DEADLINE);
	device->facts.not_before_ms = pg_int(facts, row, R_NOT_BEFORE);
	(void)snprintf(device->facts.error, sizeof(device->facts.error), "%s", error ? error : "");
	device->retell_ms = pg_int(facts, row, R_RETELL);
	device->told_by = pg_text(facts, row, R_TOLD_BY);
	device->target = pg_text(facts, row, R_TARGET);
	device->limits.download_ms = pg_int(facts, row, R_DOWNLOAD);
	device->limits.health_ms = pg_int(facts, row, R_HEALTH);
	device->limits.retries = (int32_t)pg_int(facts, row, R_RETRIES);
	device->limits.reboot = pg_bool(facts, row, R_REBOOT);
	device->limits.step = pg_bool(facts, row, R_STEP);
	device->final = pg_text(facts, row, R_FINAL);
	return OTA_OK;
}

enum ota_err fold_rows_read(struct fold *fold, struct pg *pg, struct ota_why *why)
{
	const char *values[1] = { pg_array_end(&fold->ids) };
	enum ota_err err;

	if (!values[0] || fold->failed) {
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	err = pg_exec(pg, "SELECT * FROM ota.broker_read($1)", 1, values, &fold->facts, why);
	for (int row = 0; !err && row < PQntuples(fold->facts); row++) {
		int64_t n = pg_int(fold->facts, row, R_N);
		struct fold_device *device;

		if (n < 1 || (size_t)n > HASH_COUNT(fold->devices)) {
			ota_why_set(why, "broker_read gave a row nobody asked for");
			return OTA_ERR_STATE;
		}
		device = &fold->pool[n - 1];
		device->known = pg_bool(fold->facts, row, R_KNOWN);
		device->old_fleet_from = pg_text(fold->facts, row, R_FLEET_FROM);
		device->old_version = pg_text(fold->facts, row, R_VERSION);
		device->session = pg_int(fold->facts, row, R_SESSION);
		device->gateway = pg_text(fold->facts, row, R_GATEWAY);
		device->old_boot_id = pg_text(fold->facts, row, R_BOOT_ID);
		if (pg_text(fold->facts, row, R_ROLLOUT)) {
			err = read_update(device, fold->facts, row, why);
		}
	}
	return err;
}

void fold_each_answered(
	const struct fold *fold, void (*see)(void *context, const char *device), void *context)
{
	for (size_t i = 0; i < HASH_COUNT(fold->devices); i++) {
		const struct fold_device *device = &fold->pool[i];

		if (device->update_touched && device->facts.state != UPDATE_NOTIFIED) {
			see(context, device->id);
		}
	}
}

void fold_rows_audit(struct fold *fold, int64_t at_ms, const char *device, int64_t rollout,
	const char *kind, const char *detail)
{
	struct pg_array *columns = fold->event_columns;

	pg_array_int(&columns[E_AT], at_ms);
	pg_array_text(&columns[E_DEVICE], device);
	pg_array_int_or_null(&columns[E_ROLLOUT], rollout, 0);
	pg_array_text(&columns[E_KIND], kind);
	pg_array_text(&columns[E_DETAIL], detail);
}

static void put_device(struct fold *fold, const struct fold_device *device)
{
	struct pg_array *columns = fold->device_columns;

	pg_array_text(&columns[D_ID], device->id);
	pg_array_bool(&columns[D_NEW], device->is_new);
	pg_array_text(&columns[D_FLEET], device->fleet);
	pg_array_text(&columns[D_FLEET_FROM], device->fleet_from);
	pg_array_text(&columns[D_HARDWARE], device->hardware);
	pg_array_text(&columns[D_VERSION], device->version);
	pg_array_bool(&columns[D_CONNECTED], device->connected);
	pg_array_bool(&columns[D_LISTENING], device->listening);
	pg_array_int_or_null(&columns[D_SESSION], device->session, 0);
	pg_array_text(&columns[D_TOPIC], device->topic);
	pg_array_int(&columns[D_SEEN], device->seen_ms);
	pg_array_text(&columns[D_BOOT], device->boot_id);
}

static void put_update(struct fold *fold, const struct fold_device *device)
{
	struct pg_array *columns = fold->update_columns;
	const struct update_facts *facts = &device->facts;

	pg_array_int(&columns[U_ROLLOUT], device->rollout);
	pg_array_text(&columns[U_DEVICE], device->id);
	pg_array_text(&columns[U_STATE], update_state_name(facts->state));
	pg_array_int(&columns[U_ATTEMPT], facts->attempt);
	pg_array_int(&columns[U_RETRIES], facts->retries_used);
	pg_array_int(&columns[U_FAILED], device->failed);
	pg_array_int(&columns[U_TOLD], facts->told_session);
	pg_array_int(&columns[U_BOOTS], facts->boots);
	pg_array_int_or_null(&columns[U_BOOTS_SINCE], facts->boots_since_ms, 0);
	pg_array_int_or_null(&columns[U_NOT_BEFORE], facts->not_before_ms, 0);
	pg_array_int_or_null(&columns[U_DEADLINE], facts->deadline_ms, 0);
	pg_array_text(&columns[U_ERROR], facts->error[0] ? facts->error : NULL);
	pg_array_int_or_null(&columns[U_RETELL], device->retell_ms, 0);
	pg_array_int(&columns[U_AT], device->step_ms);
}

enum ota_err fold_rows_write(
	struct fold *fold, struct pg *pg, uint64_t sequence, struct ota_why *why)
{
	const char *values[2 + D_COLUMNS + U_COLUMNS + E_COLUMNS];
	char sequence_text[24];
	size_t n = 0;

	for (size_t i = 0; i < HASH_COUNT(fold->devices); i++) {
		const struct fold_device *device = &fold->pool[i];

		if (device->known && device->touched) {
			put_device(fold, device);
		}
		if (device->update_touched) {
			put_update(fold, device);
		}
	}
	(void)snprintf(sequence_text, sizeof(sequence_text), "%" PRIu64, sequence);
	values[n++] = fold->broker;
	values[n++] = sequence ? sequence_text : NULL;
	for (size_t i = 0; i < D_COLUMNS; i++) {
		values[n++] = pg_array_end(&fold->device_columns[i]);
	}
	for (size_t i = 0; i < U_COLUMNS; i++) {
		values[n++] = pg_array_end(&fold->update_columns[i]);
	}
	for (size_t i = 0; i < E_COLUMNS; i++) {
		values[n++] = pg_array_end(&fold->event_columns[i]);
	}
	for (size_t i = 2; i < n; i++) {
		if (!values[i]) {
			ota_why_set(why, "out of memory");
			return OTA_ERR_NOMEM;
		}
	}
	return pg_exec(pg,
		"SELECT ota.broker_write($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,"
		"$20,$21,$22,$23,$24,$25,$26,$27,$28,$29,$30,$31,$32,$33)",
		(int)n, values, NULL, why);
}
