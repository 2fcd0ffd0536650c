/*
 * written - up to when all that was in the outbox is in the tables, also while the outbox is never empty.
 *
 * How many records wait is marked now and then: once so many more are in the tables, everything of that moment is, whatever has come
 * since.  Then the next moment is marked.  Where the count of what waits is too high (records that turn out to be damaged, or that
 * the database has already), the answer is too early a moment, never too late a one.
 *
 * Thread: the caller's; the struct is the caller's too, owns nothing and begins as { 0 }.  Times are milliseconds of one clock that starts
 * above 0 and never goes back; nothing here reads it.
 */
#pragma once

#include <stdint.h>

struct written {
	int64_t until_ms;   /* what was in the outbox by then is in the tables; 0: not known yet */
	int64_t mark_ms;    /* the moment that comes next */
	uint64_t mark_left; /* records that waited then and are not in the tables; 0: none is marked */
};

/* Records are about to be read, of which `pending` wait at `now_ms`; more may come before they are read. */
void written_begin(struct written *written, int64_t now_ms, uint64_t pending);
/* `count` records, the first of those that waited, are in the tables. */
void written_add(struct written *written, uint64_t count);
/* At `now_ms` nothing was left to read. */
void written_all(struct written *written, int64_t now_ms);
/* How far the tables are behind at `now_ms`: INT64_MAX: not known yet. */
int64_t written_behind_ms(const struct written *written, int64_t now_ms);
