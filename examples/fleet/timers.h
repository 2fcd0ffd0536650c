/*
 * timers - a heap of due times, a few kinds for each device.
 *
 * Thread: the fleet's.  Setting a kind again replaces it; the old entry stays in the heap, marked
 * stale by its stamp, until its time comes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum timer_kind {
	TIMER_LINK,
	TIMER_PHASE,
	TIMER_DEADLINE,
	TIMER_FLAP,
	TIMER_TROUBLE,
	TIMER_KINDS
};

struct timer_entry {
	uint64_t due;
	uint32_t device;
	uint32_t stamp;
	enum timer_kind kind;
};

struct timers {
	struct timer_entry *heap;
	size_t count;
	size_t room;
	uint32_t *stamps; /* devices * TIMER_KINDS; an entry counts only with the current stamp */
};

/* Prepare for `devices` devices; timers_close() frees. */
void timers_open(struct timers *timers, size_t devices);
void timers_close(struct timers *timers);

/* Make `kind` of `device` come due at `due` (milliseconds of common_now_ms()). */
void timers_set(struct timers *timers, uint32_t device, enum timer_kind kind, uint64_t due);

/* Forget `kind` of `device`. */
void timers_cancel(struct timers *timers, uint32_t device, enum timer_kind kind);

/* Take the next timer that is due at `now`; false when there is none. */
bool timers_next(struct timers *timers, uint64_t now, uint32_t *device, enum timer_kind *kind);

/* When the first timer comes due (a stale one may make it early); UINT64_MAX without any. */
uint64_t timers_due(const struct timers *timers);
