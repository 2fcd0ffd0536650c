/* The rows of a batch: their way out of PostgreSQL and back. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fold_internal.h"

static const enum pg_binary_type column_types[F_COLUMNS] = {
	[D_ID] = PG_BINARY_TEXT,
	[D_NEW] = PG_BINARY_BOOL,
	[D_FLEET] = PG_BINARY_TEXT,
	[D_FLEET_FROM] = PG_BINARY_TEXT,
	[D_HARDWARE] = PG_BINARY_TEXT,
	[D_VERSION] = PG_BINARY_TEXT,
	[D_CONNECTED] = PG_BINARY_BOOL,
	[D_LISTENING] = PG_BINARY_BOOL,
	[D_SESSION] = PG_BINARY_BIGINT,
	[D_TOPIC] = PG_BINARY_TEXT,
	[D_SEEN] = PG_BINARY_BIGINT,
	[D_BOOT] = PG_BINARY_TEXT,
	[U_ROLLOUT] = PG_BINARY_BIGINT,
	[U_DEVICE] = PG_BINARY_TEXT,
	[U_STATE] = PG_BINARY_TEXT,
	[U_ATTEMPT] = PG_BINARY_INTEGER,
	[U_RETRIES] = PG_BINARY_INTEGER,
	[U_FAILED] = PG_BINARY_INTEGER,
	[U_TOLD] = PG_BINARY_BIGINT,
	[U_BOOTS] = PG_BINARY_INTEGER,
	[U_BOOTS_SINCE] = PG_BINARY_BIGINT,
	[U_NOT_BEFORE] = PG_BINARY_BIGINT,
	[U_DEADLINE] = PG_BINARY_BIGINT,
	[U_ERROR] = PG_BINARY_TEXT,
	[U_RETELL] = PG_BINARY_BIGINT,
	[U_AT] = PG_BINARY_BIGINT,
	[E_AT] = PG_BINARY_BIGINT,
	[E_DEVICE] = PG_BINARY_TEXT,
	[E_ROLLOUT] = PG_BINARY_BIGINT,
	[E_KIND] = PG_BINARY_TEXT,
	[E_DETAIL] = PG_BINARY_TEXT,
	[S_ID] = PG_BINARY_TEXT,
	[S_SEEN] = PG_BINARY_BIGINT,
	[E_ID] = PG_BINARY_BIGINT,
	[E_HASH] = PG_BINARY_BYTEA,
	[F_IDS] = PG_BINARY_TEXT,
};

enum ota_err fold_rows_begin(struct fold *fold, size_t count)
{
	HASH_CLEAR(hh, fold->devices);
	PQclear(fold->facts);
	PQclear(fold->updates);
	fold->facts = NULL;
	fold->updates = NULL;
	cJSON_Delete(fold->said);
	fold->said = NULL;
	fold->failed = false;
	fold->uncertain = false;
	if (count > fold->pool_size) {
		struct fold_device *pool = realloc(fold->pool, count * sizeof(*pool));

		if (!pool) {
			return OTA_ERR_NOMEM;
		}
		fold->pool = pool;
		fold->pool_size = count;
	}
	for (size_t i = 0; i < F_COLUMNS; i++) {
		pg_binary_begin(&fold->columns[i], column_types[i]);
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
		pg_binary_bytes(&fold->columns[F_IDS], id, length);
		HASH_ADD_KEYPTR(hh, fold->devices, device->id, length, device);
		if (!device->hh.tbl) {
			fold->failed = true;
		}
	}
	return device;
}

/* Columns of broker_updates. */
enum {
	R_N,
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
	R_TOLD_BY,
	R_STEP,
	R_FINAL
};

/* Columns of broker_read. */
enum {
	F_N,
	F_FLEET_FROM,
	F_VERSION,
	F_HARDWARE,
	F_SESSION,
	F_HERE,
	F_GATEWAY,
	F_BOOT_ID,
	F_SEEN_MS
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

/* The device that a row is about; NULL: nobody asked for it. */
static struct fold_device *device_of(
	const struct fold *fold, const PGresult *result, int row, struct ota_why *why)
{
	int64_t n = pg_int(result, row, 0);

	if (n < 1 || (size_t)n > HASH_COUNT(fold->devices)) {
		ota_why_set(why, "the database gave a row nobody asked for");
		return NULL;
	}
	return &fold->pool[n - 1];
}

static void read_device(struct fold_device *device, const PGresult *facts, int row)
{
	device->known = true;
	device->old_fleet_from = pg_text(facts, row, F_FLEET_FROM);
	device->old_version = pg_text(facts, row, F_VERSION);
	device->old_hardware = pg_text(facts, row, F_HARDWARE);
	device->session = pg_int(facts, row, F_SESSION);
	device->old_session = device->session;
	device->here = pg_bool(facts, row, F_HERE);
	device->gateway = pg_text(facts, row, F_GATEWAY);
	device->old_boot_id = pg_text(facts, row, F_BOOT_ID);
	device->old_seen_ms = pg_int(facts, row, F_SEEN_MS);
}

enum ota_err fold_rows_read(struct fold *fold, struct pg *pg, struct ota_why *why)
{
	const char *values[2] = { fold->broker };
	int lengths[2] = { 0 };
	const int formats[2] = { 0, 1 };
	struct fold_device *device = NULL;
	enum ota_err err;

	values[1] = pg_binary_end(&fold->columns[F_IDS], &lengths[1]);
	if (!values[1] || fold->failed) {
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	err = pg_exec_binary(pg, "SELECT * FROM ota.broker_updates($1)", 1, values + 1, lengths + 1,
		formats + 1, &fold->updates, why);
	if (!err) {
		err = pg_exec_binary(pg, "SELECT * FROM ota.broker_read($1, $2)", 2, values, lengths,
			formats, &fold->facts, why);
	}
	for (int row = 0; !err && row < PQntuples(fold->facts); row++) {
		device = device_of(fold, fold->facts, row, why);
		if (!device) {
			return OTA_ERR_STATE;
		}
		read_device(device, fold->facts, row);
	}
	for (int row = 0; !err && row < PQntuples(fold->updates); row++) {
		device = device_of(fold, fold->updates, row, why);
		if (!device) {
			return OTA_ERR_STATE;
		}
		err = read_update(device, fold->updates, row, why);
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
