/* The hashes of a batch's audit rows, computed here: in SQL they would be most of what a report costs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/base/hex.h"

#include "fold_internal.h"

enum {
	/* A few rows are hashed by the database for less than asking it where the chain ends. */
	ROWS_MIN = 8,
};

/* Times that both sides turn into the same microseconds: PostgreSQL multiplies them as doubles. */
static const int64_t at_ms_max = INT64_C(9007199254740);

static bool read_hash(const char *hex, uint8_t hash[AUDIT_HASH_BYTES])
{
	return hex && strlen(hex) == 2 * (size_t)AUDIT_HASH_BYTES
		&& hex_read(hex, AUDIT_HASH_BYTES, hash);
}

static void next_text(const struct pg_binary *column, size_t *at, struct audit_text *text)
{
	pg_binary_next(column, at, &text->text, &text->length);
}

/* Hash all rows; false: some row has to be left to the database, or there are not as many numbers as rows. */
static bool hash_rows(
	struct fold *fold, int64_t position, const char *ids, uint8_t hash[AUDIT_HASH_BYTES])
{
	struct pg_binary *columns = fold->columns;
	const int32_t count = columns[E_KIND].count;
	size_t at[E_DETAIL + 1] = { 0 };
	struct audit_row row = { .position = position,
		.broker = { fold->broker, strlen(fold->broker) } };

	for (int32_t i = 0; i < count; i++) {
		char *end;
		int64_t at_ms = pg_binary_next_int(&columns[E_AT], &at[E_AT], -1);

		row.event_id = strtoll(ids, &end, 10);
		if (end == ids || *end != (i + 1 < count ? ',' : '\0') || at_ms < 0 || at_ms > at_ms_max) {
			return false;
		}
		ids = end + 1;
		row.position++;
		row.at_us = at_ms * 1000;
		row.rollout = pg_binary_next_int(&columns[E_ROLLOUT], &at[E_ROLLOUT], 0);
		next_text(&columns[E_DEVICE], &at[E_DEVICE], &row.device);
		next_text(&columns[E_KIND], &at[E_KIND], &row.kind);
		next_text(&columns[E_DETAIL], &at[E_DETAIL], &row.detail);
		if (audit_hash(fold->hasher, &row, hash)) {
			return false;
		}
		pg_binary_int(&columns[E_ID], row.event_id);
		pg_binary_bytes(&columns[E_HASH], hash, AUDIT_HASH_BYTES);
	}
	return true;
}

enum ota_err fold_chain(
	struct fold *fold, struct pg *pg, struct fold_chain_end *end, struct ota_why *why)
{
	const int32_t count = fold->columns[E_KIND].count;
	const char *encoding;
	uint8_t hash[AUDIT_HASH_BYTES];
	char count_text[16];
	const char *values[2] = { fold->broker, count_text };
	PGresult *found = NULL;
	enum ota_err err;

	end->known = false;
	for (size_t i = 0; i < F_COLUMNS; i++) {
		fold->failed = fold->failed || fold->columns[i].failed;
	}
	encoding = pg->connection ? PQparameterStatus(pg->connection, "server_encoding") : NULL;
	/* In another encoding the bytes of a text may come back as others. */
	if (count < ROWS_MIN || fold->uncertain || fold->failed || !encoding
		|| strcmp(encoding, "UTF8") != 0) {
		return OTA_OK;
	}
	(void)snprintf(count_text, sizeof(count_text), "%" PRId32, count);
	err = pg_exec(pg, "SELECT * FROM ota.broker_chain($1, $2)", 2, values, &found, why);
	if (err) {
		return err;
	}
	if (PQntuples(found) == 1 && read_hash(pg_text(found, 0, 2), hash)) {
		(void)snprintf(end->chain, sizeof(end->chain), "%s", pg_text(found, 0, 0));
		(void)snprintf(end->position, sizeof(end->position), "%s", pg_text(found, 0, 1));
		(void)snprintf(end->hash, sizeof(end->hash), "\\x%s", pg_text(found, 0, 2));
		end->known = hash_rows(fold, pg_int(found, 0, 1), pg_text(found, 0, 3), hash);
	}
	PQclear(found);
	if (!end->known) {
		pg_binary_begin(&fold->columns[E_ID], PG_BINARY_BIGINT);
		pg_binary_begin(&fold->columns[E_HASH], PG_BINARY_BYTEA);
	}
	return OTA_OK;
}
