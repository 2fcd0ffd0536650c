/*
 * pacing - how many more devices of the open stage may be told now.
 *
 * Slow start as TCP does it (RFC 5681, section 3.1): one device first, the number in flight grows by one with
 * each success and is halved by each failed attempt, never below one.
 * Pure.  Thread: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ota/base/error.h"

enum {
	PACING_WINDOW_MAX = 1000000
};

/* Kept in ota.rollout_stage, so that another broker continues where this one stopped. */
struct pacing_state {
	int32_t window;   /* how many may be in flight; 0 counts as 1 (a fresh stage) */
	int64_t seen_ok;  /* successes already folded into the window */
	int64_t seen_bad; /* failed attempts already folded in */
};

struct pacing_limits {
	bool slow_start;
	int32_t max_in_flight; /* 0: no cap */
	int32_t per_minute;    /* 0: no cap */
};

/*
 * Fold new outcomes into the window: first the failures (each halves), then the successes (each adds one).  `ok` and
 * `bad` are the stage's totals so far, not what is new.  Totals that went down (an operator's retry takes an outcome
 * back) move nothing and are remembered, so that the next outcome counts.  The window stays in
 * 1..PACING_WINDOW_MAX; failures before successes is the careful order when both arrive together.
 */
void pacing_fold(struct pacing_state *state, int64_t ok, int64_t bad) __attribute__((nonnull));

/*
 * How many of `waiting` devices may be told now; `in_flight` are told and not finished in the whole rollout,
 * `told_last_minute` were told in the last 60 s.  Never negative; negative inputs and caps give 0.
 */
OTA_MUST_USE int64_t pacing_grants(const struct pacing_limits *limits,
	const struct pacing_state *state, int64_t in_flight, int64_t told_last_minute, int64_t waiting)
	__attribute__((nonnull));
