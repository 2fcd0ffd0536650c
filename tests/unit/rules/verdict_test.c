#include "ota/rules/verdict.h"

#include "rules/cases.h"
#include "rules/stage_simulation.h"

static const struct stage_limits standard = {
	.threshold_ppm = 950000,
	.coverage_ppm = 900000,
	.early_halt = true,
};

static void decisions_are_those_of_the_case_file(void **state)
{
	bool seen[VERDICT_RULE_AWAY + 1] = { false };
	struct cases cases;

	(void)state;
	cases_open(&cases, "verdict.cases");
	while (cases_next(&cases)) {
		assert_int_equal(cases.count, 13);
		const char *flags = cases.word[2];
		int64_t value[11] = { 0 };

		for (int i = 0; i < 11; i++) {
			value[i] = i == 2 ? 0 : cases_number(&cases, cases.word[i]);
		}
		struct stage_limits limits = {
			.threshold_ppm = (int32_t)value[0],
			.coverage_ppm = (int32_t)value[1],
			.early_halt = strchr(flags, 'e') != NULL,
			.hold = strchr(flags, 'h') != NULL,
			.last = strchr(flags, 'l') != NULL,
			.proven = strchr(flags, 'p') != NULL,
		};
		struct stage_counts counts = {
			.cohort = value[3],
			.added = value[4],
			.told = value[5],
			.ok = value[6],
			.failed = value[7],
			.in_flight = value[8],
			.waiting = value[9],
		};
		struct stage_decision decision = verdict_decide(&limits, &counts, value[10]);

		seen[decision.rule] = true;
		if (strcmp(verdict_name(decision.verdict), cases.word[11]) != 0
			|| strcmp(verdict_rule_name(decision.rule), cases.word[12]) != 0) {
			fail_msg("line %d: %s %s: %s", cases.line, verdict_name(decision.verdict),
				verdict_rule_name(decision.rule), decision.why);
		}
		assert_true(strlen(decision.why) > 0);
	}
	for (int i = 0; i <= VERDICT_RULE_AWAY; i++) {
		assert_true(seen[i]);
	}
}

struct wording {
	struct stage_limits limits;
	struct stage_counts counts;
	int64_t remaining_ms;
	const char *why;
};

static void reasons_carry_their_numbers(void **state)
{
	static const struct wording wordings[] = {
		{ { 950000, 900000, true, false, false, false }, { 1000, 1000, 5, 0, 5, 0, 995 }, 1,
			"5 of 5 finished devices failed; the sequential test halts (5 % allowed)" },
		{ { 999500, 900000, true, false, false, false }, { 100, 100, 2, 1, 1, 0, 98 }, 1,
			"1 of the stage's 100 devices failed; at most 0 may (0.05 % allowed)" },
		{ { 999999, 900000, true, false, false, false }, { 100, 100, 2, 1, 1, 0, 98 }, 1,
			"1 of the stage's 100 devices failed; at most 0 may (0.0001 % allowed)" },
		{ { 950000, 900000, true, false, false, false }, { 100, 100, 2, 2, 0, 0, 98 }, 1001,
			"2 s of the stage's wait are left" },
		{ { 950000, 900000, true, false, false, false }, { 100, 100, 2, 2, 0, 0, 98 }, 0,
			"98 reachable devices have not been told yet" },
		{ { 950000, 900000, true, false, false, false }, { 100, 100, 3, 0, 0, 3, 0 }, 0,
			"none of the 3 told devices has finished" },
		{ { 950000, 900000, true, false, false, false }, { 100, 100, 100, 80, 0, 20, 0 }, 0,
			"80 of 100 told devices have finished; 90 are needed" },
		{ { 950000, 900000, true, false, true, false }, { 100, 100, 100, 80, 0, 20, 0 }, 0,
			"20 of 100 told devices have not finished" },
		{ { 955000, 0, false, false, false, false }, { 100, 100, 4, 3, 1, 0, 0 }, 0,
			"3 of 4 finished devices succeeded; 95.5 % are needed" },
		{ { 950000, 900000, true, false, false, false }, { 100, 100, 100, 98, 2, 0, 0 }, 0,
			"98 of 100 finished devices succeeded; the next stage opens" },
		{ { 950000, 900000, true, true, false, false }, { 100, 100, 100, 98, 2, 0, 0 }, 0,
			"98 of 100 finished devices succeeded; an operator must advance" },
		{ { 950000, 900000, true, true, true, false }, { 100, 100, 100, 98, 2, 0, 0 }, 0,
			"98 of 100 finished devices succeeded; that was the last stage" },
		{ { 950000, 900000, true, false, false, false }, { 100, 0, 0, 0, 0, 0, 0 }, 0,
			"the stage added no device; the next stage opens" },
		{ { 950000, 2000000, true, false, false, false }, { 100, 0, 0, 0, 0, 0, 0 }, 0,
			"threshold 950000 and coverage 2000000; 0 to 1000000 parts per million are accepted" },
		{ { 950000, 900000, true, false, false, false }, { 100, 9, 1, 2, 3, 4, 5 }, 0,
			"the counts make no sense: told 1, ok 2, failed 3, in flight 4, waiting 5" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wordings) / sizeof(wordings[0]); i++) {
		const struct wording *one = &wordings[i];
		struct stage_decision decision =
			verdict_decide(&one->limits, &one->counts, one->remaining_ms);

		assert_string_equal(decision.why, one->why);
	}
}

static void the_fifth_dead_device_halts_a_canary(void **state)
{
	(void)state;
	for (int64_t failed = 1; failed <= 5; failed++) {
		struct stage_counts counts = { .cohort = 100, .added = 100, .waiting = 100 - failed };

		counts.told = failed;
		counts.failed = failed;
		struct stage_decision decision = verdict_decide(&standard, &counts, 7200000);

		assert_int_equal(decision.verdict, failed == 5 ? VERDICT_HALT : VERDICT_WAIT);
	}
}

static void six_failures_in_a_hundred_always_halt(void **state)
{
	(void)state;
	for (int64_t ok = 0; ok <= 94; ok++) {
		for (int early = 0; early <= 1; early++) {
			struct stage_limits limits = standard;
			struct stage_counts counts = { .cohort = 100, .added = 100, .ok = ok, .failed = 6 };

			limits.early_halt = early == 1;
			counts.told = ok + 6;
			counts.waiting = 94 - ok;
			assert_int_equal(verdict_decide(&limits, &counts, 7200000).verdict, VERDICT_HALT);
		}
	}
}

/* However the counts stand, fewer failures and more successes never turn a pass into a halt. */
static void a_better_stage_never_fares_worse(void **state)
{
	(void)state;
	for (int64_t failed = 0; failed < 60; failed++) {
		for (int64_t ok = 0; ok + failed <= 60; ok++) {
			struct stage_counts counts = { .cohort = 60, .added = 60, .ok = ok, .failed = failed };

			counts.told = 60;
			counts.in_flight = 60 - ok - failed;
			bool halts = verdict_decide(&standard, &counts, 0).verdict == VERDICT_HALT;

			counts.failed++;
			counts.in_flight--;
			if (halts && counts.in_flight >= 0) {
				assert_int_equal(verdict_decide(&standard, &counts, 0).verdict, VERDICT_HALT);
			}
		}
	}
}

static void a_good_release_is_not_halted(void **state)
{
	const struct simulated_stage good = {
		.devices = 100,
		.bad_ppm = 10000,
		.slow_start = true,
		.early_halt = true,
		.threshold_ppm = 950000,
	};
	uint64_t seed = 1;
	int halts = 0;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		halts += simulate_stage(&good, &seed).decision.verdict == VERDICT_HALT ? 1 : 0;
	}
	print_message("1 %% failing: %d of 5000 stages halted\n", halts);
	assert_true(halts < 100);
}

/* Ville's bound: with exactly the allowed share failing, the sequential test alone fires in at most 1 %. */
static void the_false_alarm_stays_below_its_bound(void **state)
{
	const struct simulated_stage borderline = {
		.devices = 400,
		.bad_ppm = 50000,
		.slow_start = true,
		.early_halt = true,
		.threshold_ppm = 950000,
	};
	uint64_t seed = 2;
	int alarms = 0;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		struct simulated_end end = simulate_stage(&borderline, &seed);

		alarms += end.decision.rule == VERDICT_RULE_SEQUENTIAL ? 1 : 0;
	}
	print_message("5 %% failing: %d of 3000 sequential alarms\n", alarms);
	assert_true(alarms <= 30);
}

static void every_value_has_a_name(void **state)
{
	(void)state;
	for (int i = 0; i <= VERDICT_HALT; i++) {
		assert_string_not_equal(verdict_name((enum verdict)i), "unknown");
	}
	for (int i = 0; i <= VERDICT_RULE_AWAY; i++) {
		assert_string_not_equal(verdict_rule_name((enum verdict_rule)i), "unknown");
	}
	assert_string_equal(verdict_name((enum verdict)99), "unknown");
	assert_string_equal(verdict_rule_name((enum verdict_rule)99), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decisions_are_those_of_the_case_file),
		cmocka_unit_test(reasons_carry_their_numbers),
		cmocka_unit_test(the_fifth_dead_device_halts_a_canary),
		cmocka_unit_test(six_failures_in_a_hundred_always_halt),
		cmocka_unit_test(a_better_stage_never_fares_worse),
		cmocka_unit_test(a_good_release_is_not_halted),
		cmocka_unit_test(the_false_alarm_stays_below_its_bound),
		cmocka_unit_test(every_value_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
