/*
 * gather - when the next batch is begun: at once in a quiet fleet, a moment later while much comes in.
 *
 * A batch costs four statements and a commit whatever is in it, and the processor time of PostgreSQL is the broker's and the devices' where
 * they share a machine.  Four cases, by what the last batch was:
 *
 *   few records                     the next batch is begun as soon as there is one
 *   GATHER_STREAM_FROM or more      GATHER_STREAM_MS after the last one was begun
 *   GATHER_FLOOD_FROM or more       GATHER_FLOOD_MS after it: at such a rate what a batch costs is a tenth of what its reports cost
 *   mostly who is there and who     while they pour in, at most GATHER_STORM_MS after the last one was begun: who comes
 *   listens, GATHER_STORM_FROM or   back after a power cut needs the broker first, and the books can wait a moment
 *   more
 *
 * What waits when a wait is over, or where there was none, is written without another wait.  Enough records end one at once.
 *
 * Thread: the caller's; the struct is the caller's too, owns nothing and begins as { 0 }.  Times are milliseconds of one clock that never
 * goes back; nothing here reads it.
 */
#pragma once

#include <stdint.h>

enum {
	GATHER_STREAM_FROM = 8,      /* records of a batch */
	GATHER_STREAM_MS = 40,       /* as often as there is a pass at most */
	GATHER_STREAM_ENOUGH = 2000, /* records that wait end it: more of them are a flood */
	GATHER_FLOOD_FROM = 500,     /* records of a batch: 12,500 a second, then 2,500 */
	GATHER_FLOOD_MS = 200,       /* the tables count as behind from half a second on */
	GATHER_FLOOD_ENOUGH = 4000,  /* records that wait: a full batch */
	GATHER_STORM_FROM = 100,     /* records of a batch that say who is there; at least half of it */
	GATHER_STORM_MS = 1000,      /* nobody waits longer for the next batch to begin */
	GATHER_STORM_ENOUGH = 100000, /* records that wait */
	GATHER_LOOK_MS = 100,         /* how often is looked whether a storm goes on ... */
	GATHER_LOOK_RECORDS = 200,    /* ... with so many more records than at the last look */
};

struct gather {
	uint64_t left;    /* of what waited when a wait was over: records that are not in the tables */
	int64_t until_ms; /* the next batch is begun then; 0: at once */
	uint64_t enough;  /* no storm: so many that wait end the wait */
	int64_t look_ms;  /* a storm: the next look; 0: no storm */
	uint64_t seen;    /* a storm: what waited at the last look */
};

/*
 * How long the next batch has to wait at `now_ms`, with `pending` records waiting: 0: it is to be begun now.  To be asked again then, or when
 * something else has happened.
 */
int64_t gather_wait_ms(struct gather *gather, int64_t now_ms, uint64_t pending);
/*
 * A batch that was begun at `began_ms`, after gather_wait_ms() had said so, is in the tables at `now_ms`: so many `records`, `presence` of
 * them say who is there or who listens; `pending` wait now.
 */
void gather_wrote(struct gather *gather, int64_t began_ms, int64_t now_ms, uint64_t records,
	uint64_t presence, uint64_t pending);
/* Whatever it waited for, the next batch is begun at once. */
void gather_reset(struct gather *gather);
