#include "ota/store/updating.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ota/store/pg_array.h"
#include "ota/wire/change.h"

struct question {
	int64_t session;
	char device[];
};

struct updating {
	struct queue *waiting; /* of struct question */
	struct queue *changes;
	struct pg_array devices;
	struct pg_array sessions;
	atomic_bool away;
};

/* Columns of broker_updating. */
enum {
	U_DEVICE,
	U_SESSION,
	U_ROLLOUT,
	U_ATTEMPT,
	U_RELEASE,
	U_DEADLINE,
	U_VIA
};

struct updating *updating_new(struct queue *changes)
{
	struct updating *updating = calloc(1, sizeof(*updating));

	if (updating) {
		updating->changes = changes;
		updating->waiting = queue_new(UPDATING_WAITING_MAX);
		atomic_store(&updating->away, true);
		if (!updating->waiting) {
			free(updating);
			updating = NULL;
		}
	}
	return updating;
}

void updating_free(struct updating *updating)
{
	if (!updating) {
		return;
	}
	queue_free(updating->waiting, free);
	pg_array_free(&updating->devices);
	pg_array_free(&updating->sessions);
	free(updating);
}

enum ota_err updating_push(struct updating *updating, const char *device, int64_t session)
{
	size_t length = strlen(device);
	struct question *question;

	if (atomic_load(&updating->away)) {
		return OTA_ERR_UNAVAILABLE;
	}
	question = malloc(sizeof(*question) + length + 1);
	if (!question) {
		return OTA_ERR_NOMEM;
	}
	question->session = session;
	memcpy(question->device, device, length + 1);
	if (!queue_push(updating->waiting, question)) {
		free(question);
		return OTA_ERR_FULL;
	}
	return OTA_OK;
}

void updating_set_away(struct updating *updating, bool away)
{
	struct question *question;

	atomic_store(&updating->away, away);
	while (away && (question = queue_pop(updating->waiting)) != NULL) {
		free(question);
	}
}

/* One that the gate has no room for is asked again. */
static void answer(struct updating *updating, const PGresult *rows, int n)
{
	const char *device = pg_text(rows, n, U_DEVICE);
	const char *via = pg_text(rows, n, U_VIA);
	struct change *change = change_new(CHANGE_UPDATING);

	if (!change) {
		return;
	}
	change->device = device ? strdup(device) : NULL;
	change->via = via ? strdup(via) : NULL;
	change->value = pg_int(rows, n, U_SESSION);
	change->rollout = pg_int(rows, n, U_ROLLOUT);
	change->live = change->rollout != 0;
	change->attempt = (int32_t)pg_int(rows, n, U_ATTEMPT);
	change->release_id = pg_int(rows, n, U_RELEASE);
	change->deadline_ms = pg_int(rows, n, U_DEADLINE);
	if (!change->device || (via && !change->via) || !queue_push(updating->changes, change)) {
		change_free(change);
	}
}

enum ota_err updating_work(
	struct updating *updating, struct pg *pg, bool *more, struct ota_why *why)
{
	struct question *question;
	PGresult *rows = NULL;
	const char *values[2];
	enum ota_err err;

	if (queue_length(updating->waiting) == 0) {
		return OTA_OK;
	}
	pg_array_begin(&updating->devices);
	pg_array_begin(&updating->sessions);
	for (int i = 0; i < UPDATING_A_TURN && (question = queue_pop(updating->waiting)) != NULL; i++) {
		pg_array_text(&updating->devices, question->device);
		pg_array_int(&updating->sessions, question->session);
		free(question);
	}
	values[0] = pg_array_end(&updating->devices);
	values[1] = pg_array_end(&updating->sessions);
	if (!values[0] || !values[1]) {
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	err = pg_exec(
		pg, "SELECT * FROM ota.broker_updating($1::text[], $2::bigint[])", 2, values, &rows, why);
	for (int n = 0; !err && n < PQntuples(rows); n++) {
		answer(updating, rows, n);
	}
	PQclear(rows);
	*more = *more || queue_length(updating->waiting) > 0;
	return err;
}
