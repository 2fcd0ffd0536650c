#include "ota/rules/verdict.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

/*
 * The rest of the order, after the two early halts:
 *   empty      the stage added nobody, told nobody and nobody waits: nothing to learn, go on when the clock allows
 *   clock      the wait is not over
 *   untold     more than floor((1 - coverage) n) reachable devices still wait for their turn; last stage: any
 *   away       all of the stage's devices are away, and the release has proved itself before: they neither block nor count
 *   no evidence nobody has finished
 *   coverage   fewer than ceil(coverage * told) have finished; last stage: anybody is still in flight
 *   below      ok / finished < threshold: halt
 *   pass       complete, hold or advance
 * n are the stage's own devices.  Latecomers of earlier stages are served by the open stage, so more may have been
 * told than were added: n = max(added, told).
 */

/* Counts above this are nonsense; below it every product with VERDICT_PPM fits 64 bits. */
static const int64_t count_max = INT64_C(1000000000000);
/* The sequential test: false alarm 1 %, so halt when the likelihood ratio reaches 1/0.01. */
static const double false_alarm = 0.01;
/* With a threshold of 100 % a rate of 0 would make the first failure infinitely unlikely. */
static const double rate_min = 0.001;
static const double bad_factor = 3.0;
/* So that a ratio of exactly the bound halts on every libm. */
static const double rounding = 1e-9;

OTA_PRINTF(3, 4)
static struct stage_decision decide(
	enum verdict verdict, enum verdict_rule rule, const char *format, ...)
{
	struct stage_decision decision = { .verdict = verdict, .rule = rule };
	va_list args;

	va_start(args, format);
	(void)vsnprintf(decision.why, sizeof(decision.why), format, args);
	va_end(args);
	return decision;
}

/* Parts per million as people read them: "5 %", "0.25 %". */
struct percent {
	char text[24];
};

static struct percent percent_of(int64_t ppm)
{
	struct percent percent;
	char digits[12];
	int length;

	/* Four decimals, then without the zeros at the end. */
	(void)snprintf(digits, sizeof(digits), "%04u", (unsigned)(ppm % 10000));
	for (length = 4; length > 0 && digits[length - 1] == '0'; length--) {
		digits[length - 1] = '\0';
	}
	(void)snprintf(percent.text, sizeof(percent.text), "%u%s%s %%", (unsigned)(ppm / 10000) % 1000,
		length > 0 ? "." : "", digits);
	return percent;
}

static int64_t share_floor(int64_t ppm, int64_t count)
{
	return ppm * count / VERDICT_PPM;
}

static int64_t share_ceil(int64_t ppm, int64_t count)
{
	return (ppm * count + VERDICT_PPM - 1) / VERDICT_PPM;
}

static bool is_share(int32_t ppm)
{
	return ppm >= 0 && ppm <= VERDICT_PPM;
}

static bool is_count(int64_t count)
{
	return count >= 0 && count <= count_max;
}

static bool make_sense(const struct stage_counts *counts)
{
	return is_count(counts->cohort) && is_count(counts->added) && is_count(counts->told)
		&& is_count(counts->ok) && is_count(counts->failed) && is_count(counts->in_flight)
		&& is_count(counts->waiting)
		&& counts->ok + counts->failed + counts->in_flight <= counts->told;
}

/* Wald's test of `allowed_ppm` failing against three times as many; true: the evidence is in. */
static bool is_bad_enough(int32_t allowed_ppm, int64_t ok, int64_t failed)
{
	double allowed = fmax((double)allowed_ppm / VERDICT_PPM, rate_min);
	double bad = fmin(bad_factor * allowed, (1.0 + allowed) / 2.0);
	double evidence;

	/* Everything may fail: nothing to test, and log(0) below. */
	if (allowed_ppm >= VERDICT_PPM || failed == 0) {
		return false;
	}
	evidence =
		(double)failed * log(bad / allowed) + (double)ok * log((1.0 - bad) / (1.0 - allowed));
	return evidence >= log(1.0 / false_alarm) - rounding;
}

static struct stage_decision passed(
	const struct stage_limits *limits, enum verdict_rule rule, const char *what)
{
	if (limits->last) {
		return decide(VERDICT_COMPLETE, rule, "%s; that was the last stage", what);
	}
	if (limits->hold) {
		return decide(VERDICT_HOLD, rule, "%s; an operator must advance", what);
	}
	return decide(VERDICT_ADVANCE, rule, "%s; the next stage opens", what);
}

/* The verdict at the end: everything that had to be waited for is over. */
static struct stage_decision judge(
	const struct stage_limits *limits, const struct stage_counts *counts)
{
	int64_t finished = counts->ok + counts->failed;
	struct percent threshold = percent_of(limits->threshold_ppm);
	char what[80];

	if (counts->ok * VERDICT_PPM < limits->threshold_ppm * finished) {
		return decide(VERDICT_HALT, VERDICT_RULE_BELOW,
			"%" PRId64 " of %" PRId64 " finished devices succeeded; %s are needed", counts->ok,
			finished, threshold.text);
	}
	(void)snprintf(what, sizeof(what), "%" PRId64 " of %" PRId64 " finished devices succeeded",
		counts->ok, finished);
	return passed(limits, VERDICT_RULE_PASS, what);
}

/* What must be over before there is a verdict. */
static struct stage_decision wait_or_judge(const struct stage_limits *limits,
	const struct stage_counts *counts, int64_t devices, int64_t remaining_ms)
{
	int64_t finished = counts->ok + counts->failed;
	int64_t needed = share_ceil(limits->coverage_ppm, counts->told);
	int64_t may_wait = share_floor(VERDICT_PPM - limits->coverage_ppm, devices);

	if (remaining_ms > 0) {
		/* Rounded up without adding: "0 s left" would be a riddle. */
		int64_t seconds = remaining_ms / 1000 + (remaining_ms % 1000 > 0 ? 1 : 0);

		return decide(VERDICT_WAIT, VERDICT_RULE_CLOCK,
			"%" PRId64 " s of the stage's wait are left", seconds);
	}
	if (devices == 0 && counts->waiting == 0) {
		return passed(limits, VERDICT_RULE_EMPTY, "the stage added no device");
	}
	if (counts->waiting > (limits->last ? 0 : may_wait)) {
		return decide(VERDICT_WAIT, VERDICT_RULE_UNTOLD,
			"%" PRId64 " reachable devices have not been told yet", counts->waiting);
	}
	if (counts->told == 0 && counts->waiting == 0 && limits->proven) {
		return passed(limits, VERDICT_RULE_AWAY, "all devices of the stage are away");
	}
	if (finished == 0) {
		return decide(VERDICT_WAIT, VERDICT_RULE_NO_EVIDENCE,
			"none of the %" PRId64 " told devices has finished", counts->told);
	}
	if (limits->last && counts->in_flight > 0) {
		return decide(VERDICT_WAIT, VERDICT_RULE_COVERAGE,
			"%" PRId64 " of %" PRId64 " told devices have not finished", counts->in_flight,
			counts->told);
	}
	if (!limits->last && finished < needed) {
		return decide(VERDICT_WAIT, VERDICT_RULE_COVERAGE,
			"%" PRId64 " of %" PRId64 " told devices have finished; %" PRId64 " are needed",
			finished, counts->told, needed);
	}
	return judge(limits, counts);
}

struct stage_decision verdict_decide(
	const struct stage_limits *limits, const struct stage_counts *counts, int64_t remaining_ms)
{
	int64_t devices;
	int64_t finished;
	int32_t allowed_ppm;
	struct percent allowed;

	if (!is_share(limits->threshold_ppm) || !is_share(limits->coverage_ppm)) {
		return decide(VERDICT_WAIT, VERDICT_RULE_INVALID,
			"threshold %d and coverage %d; 0 to %d parts per million are accepted",
			(int)limits->threshold_ppm, (int)limits->coverage_ppm, (int)VERDICT_PPM);
	}
	if (!make_sense(counts)) {
		return decide(VERDICT_WAIT, VERDICT_RULE_INVALID,
			"the counts make no sense: told %" PRId64 ", ok %" PRId64 ", failed %" PRId64
			", in flight %" PRId64 ", waiting %" PRId64,
			counts->told, counts->ok, counts->failed, counts->in_flight, counts->waiting);
	}
	devices = counts->added > counts->told ? counts->added : counts->told;
	finished = counts->ok + counts->failed;
	allowed_ppm = VERDICT_PPM - limits->threshold_ppm;
	allowed = percent_of(allowed_ppm);
	if (counts->failed > share_floor(allowed_ppm, devices)) {
		return decide(VERDICT_HALT, VERDICT_RULE_TOO_MANY,
			"%" PRId64 " of the stage's %" PRId64 " devices failed; at most %" PRId64
			" may (%s allowed)",
			counts->failed, devices, share_floor(allowed_ppm, devices), allowed.text);
	}
	if (limits->early_halt && is_bad_enough(allowed_ppm, counts->ok, counts->failed)) {
		return decide(VERDICT_HALT, VERDICT_RULE_SEQUENTIAL,
			"%" PRId64 " of %" PRId64
			" finished devices failed; the sequential test halts (%s allowed)",
			counts->failed, finished, allowed.text);
	}
	return wait_or_judge(limits, counts, devices, remaining_ms);
}

const char *verdict_name(enum verdict verdict)
{
	static const char *const names[] = {
		[VERDICT_WAIT] = "wait",
		[VERDICT_ADVANCE] = "advance",
		[VERDICT_HOLD] = "hold",
		[VERDICT_COMPLETE] = "complete",
		[VERDICT_HALT] = "halt",
	};

	return (size_t)verdict < sizeof(names) / sizeof(names[0]) ? names[verdict] : "unknown";
}

const char *verdict_rule_name(enum verdict_rule rule)
{
	static const char *const names[] = {
		[VERDICT_RULE_INVALID] = "invalid",
		[VERDICT_RULE_TOO_MANY] = "too_many",
		[VERDICT_RULE_SEQUENTIAL] = "sequential",
		[VERDICT_RULE_CLOCK] = "clock",
		[VERDICT_RULE_NO_EVIDENCE] = "no_evidence",
		[VERDICT_RULE_UNTOLD] = "untold",
		[VERDICT_RULE_COVERAGE] = "coverage",
		[VERDICT_RULE_BELOW] = "below",
		[VERDICT_RULE_PASS] = "pass",
		[VERDICT_RULE_EMPTY] = "empty",
		[VERDICT_RULE_AWAY] = "away",
	};

	return (size_t)rule < sizeof(names) / sizeof(names[0]) ? names[rule] : "unknown";
}
