/*
 * verdict - decide what happens to the open stage of a rollout.
 *
 * Pure: integers in, decision out.  Thread: any.
 *
 * Rules, in this order (the first that fires is the decision):
 *   too many    failures > floor(L n): the end verdict could no longer be a pass: halt
 *   sequential  Wald's test of p = L against p = min(3 L, (1 + L) / 2), false alarm 1 %: halt
 *   clock       the wait is not over: wait.  Not asked in the last stage, which ends when its devices have finished
 *   empty       the stage added nobody, told nobody and nobody waits: go on
 *   untold      more than floor((1 - coverage) n) reachable devices wait for their turn (last stage: any): wait
 *   no evidence nobody has finished: wait
 *   coverage    fewer than ceil(coverage * told) have finished (last stage: anybody in flight): wait
 *   below       ok / finished < threshold: halt
 *   pass        complete in the last stage, else hold or advance
 * with L = 1 - threshold and n = max(added, told): the stage's own devices; latecomers of earlier stages, which the
 * open stage serves, may raise told above added.  All in integers but the sequential test.  Source: A. Wald, Sequential Tests of Statistical Hypotheses, Ann. Math. Statist.
 * 16 (1945); the bound 1/alpha on the likelihood ratio holds for every stopping time (J. Ville, 1939).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ota/base/error.h"

enum {
	VERDICT_PPM = 1000000
}; /* shares are parts per million */

struct stage_limits {
	int32_t threshold_ppm; /* share of the finished that must have succeeded, 0..1000000 */
	int32_t
		coverage_ppm; /* share of the told that must have finished before a verdict, 0..1000000 */
	bool early_halt;  /* use the sequential test */
	bool hold;        /* after a pass wait for ota.advance_rollout */
	bool last;        /* no stage follows */
	bool proven;      /* some device of this rollout has succeeded already */
};

struct stage_counts {
	int64_t cohort;    /* devices that belong to this stage and those before it */
	int64_t added;     /* devices that this stage added; 0: nothing to learn here */
	int64_t told;      /* in this stage: in flight + finished (rejected ones left out) */
	int64_t ok;        /* succeeded */
	int64_t failed;    /* failed, rolled back, timed out */
	int64_t in_flight; /* told and not finished */
	int64_t waiting;   /* could be told now but are not yet: listening, not deferred */
};

enum verdict {
	VERDICT_WAIT = 0, /* the safe answer: change nothing */
	VERDICT_ADVANCE,  /* close this stage as passed, open the next */
	VERDICT_HOLD,     /* passed; an operator must advance */
	VERDICT_COMPLETE, /* last stage passed */
	VERDICT_HALT,
};

enum verdict_rule {
	VERDICT_RULE_INVALID = 0, /* limits or counts make no sense: wait */
	VERDICT_RULE_TOO_MANY,    /* failures > floor(L n) */
	VERDICT_RULE_SEQUENTIAL,  /* Wald */
	VERDICT_RULE_CLOCK,       /* the wait is not over */
	VERDICT_RULE_NO_EVIDENCE, /* nobody has finished yet */
	VERDICT_RULE_UNTOLD,      /* reachable devices still wait for their turn */
	VERDICT_RULE_COVERAGE,    /* not enough of the told have finished */
	VERDICT_RULE_BELOW,       /* end verdict: below the threshold */
	VERDICT_RULE_PASS,
	VERDICT_RULE_EMPTY, /* the stage added no device */
	VERDICT_RULE_AWAY,  /* all of the stage's devices are away; the release has proved itself */
};

struct stage_decision {
	enum verdict verdict;
	enum verdict_rule rule;
	char why[160]; /* with its numbers; goes to the log and to ota.rollout_stage.verdict */
};

/*
 * Decide for the open stage; `remaining_ms` is what is left of its wait (0 or below: over).
 * Invalid limits or counts (negative, above 10^12, ok + failed + in_flight > told) give WAIT with a reason, never
 * ADVANCE.
 */
OTA_MUST_USE struct stage_decision verdict_decide(const struct stage_limits *limits,
	const struct stage_counts *counts, int64_t remaining_ms) __attribute__((nonnull));

/* Short names for the database and the log, static and never NULL. */
const char *verdict_name(enum verdict verdict);
const char *verdict_rule_name(enum verdict_rule rule);
