#include "ota/rules/pacing.h"

#include "rules/cases.h"

static void windows_are_those_of_the_case_file(void **state)
{
	struct cases cases;

	(void)state;
	cases_open(&cases, "pacing_fold.cases");
	while (cases_next(&cases)) {
		assert_int_equal(cases.count, 8);
		int64_t value[8];

		for (int i = 0; i < 8; i++) {
			value[i] = cases_number(&cases, cases.word[i]);
		}
		struct pacing_state pacing = { (int32_t)value[0], value[1], value[2] };

		pacing_fold(&pacing, value[3], value[4]);
		if (pacing.window != value[5] || pacing.seen_ok != value[6]
			|| pacing.seen_bad != value[7]) {
			fail_msg("line %d: %d %" PRId64 " %" PRId64, cases.line, (int)pacing.window,
				pacing.seen_ok, pacing.seen_bad);
		}
		/* The same totals again change nothing: another broker may fold them too. */
		pacing_fold(&pacing, value[3], value[4]);
		assert_int_equal(pacing.window, value[5]);
	}
}

static void grants_are_those_of_the_case_file(void **state)
{
	struct cases cases;

	(void)state;
	cases_open(&cases, "pacing_grants.cases");
	while (cases_next(&cases)) {
		assert_int_equal(cases.count, 8);
		int64_t value[8];

		for (int i = 0; i < 8; i++) {
			value[i] = cases_number(&cases, cases.word[i]);
		}
		struct pacing_limits limits = { value[0] != 0, (int32_t)value[1], (int32_t)value[2] };
		struct pacing_state pacing = { .window = (int32_t)value[3] };
		int64_t grants = pacing_grants(&limits, &pacing, value[4], value[5], value[6]);

		if (grants != value[7]) {
			fail_msg("line %d: %" PRId64 " instead of %" PRId64, cases.line, grants, value[7]);
		}
	}
}

/* As in TCP: when every device of a round succeeds, the next round is twice as wide. */
static void a_healthy_release_doubles_each_round(void **state)
{
	const struct pacing_limits limits = { .slow_start = true };
	struct pacing_state pacing = { 0 };
	int64_t done = 0;

	(void)state;
	for (int round = 0; round < 15; round++) {
		int64_t grants = pacing_grants(&limits, &pacing, 0, 0, INT64_MAX);

		assert_int_equal(grants, INT64_C(1) << round);
		done += grants;
		pacing_fold(&pacing, done, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_are_those_of_the_case_file),
		cmocka_unit_test(grants_are_those_of_the_case_file),
		cmocka_unit_test(a_healthy_release_doubles_each_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
