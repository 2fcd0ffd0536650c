/*
 * fold - turn a batch of events into rows: read the facts of its devices, apply the rules in order, write what came out.
 *
 * Read, rules and write are one transaction with the batch's sequence number, so that a batch counts exactly once.
 * Thread: store.  The fold keeps its memory from batch to batch.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/store/pg.h"
#include "ota/wire/event.h"
#include "ota/wire/options.h"

struct fold;

/*
 * `session_floor`: sessions with a smaller number are of an earlier life of this broker and over.  NULL: no memory.
 */
OTA_MUST_USE struct fold *fold_new(const char *broker, enum enroll enroll, int64_t session_floor);
void fold_free(struct fold *fold);

/* What a batch did, for what has to happen next and for the log. */
struct fold_result {
	size_t events;
	size_t steps; /* device updates that changed */
	size_t impossible;
	size_t unknown; /* events of devices that are not enrolled */
	bool news;      /* fold_events(): something new of a device, or its update moved on */
};

/*
 * Fold `count` events (their strings must stay until this returns) whose last sequence number is `sequence`.
 * Errors as pg_exec(); on any error nothing was written.  OTA_ERR_INVALID: some event cannot be stored, see fold_events() with fewer.
 */
OTA_MUST_USE enum ota_err fold_events(struct fold *fold, struct pg *pg, const struct event *events,
	size_t count, uint64_t sequence, struct fold_result *done, struct ota_why *why);

/* The devices whose update the last batch moved on from `notified`: they need not be told again. */
void fold_each_answered(
	const struct fold *fold, void (*see)(void *context, const char *device), void *context);

/*
 * Write audit rows of a kind in the transaction that is open: fold_note_begin(), fold_note() for each, fold_note_write().  `detail` is JSON,
 * `at_ms` wall clock; texts are copied.  Errors as pg_exec().
 */
OTA_MUST_USE enum ota_err fold_note_begin(struct fold *fold, struct ota_why *why);
void fold_note(struct fold *fold, int64_t at_ms, const char *device, int64_t rollout,
	const char *kind, const char *detail);
OTA_MUST_USE enum ota_err fold_note_write(struct fold *fold, struct pg *pg, struct ota_why *why);

/*
 * Time out up to `limit` device updates whose deadline was before written_ms (clock_mono_ms()): what devices said until then is in the tables.
 * Errors as pg_exec().
 */
OTA_MUST_USE enum ota_err fold_expired(struct fold *fold, struct pg *pg, int64_t written_ms,
	int limit, struct fold_result *done, struct ota_why *why);
