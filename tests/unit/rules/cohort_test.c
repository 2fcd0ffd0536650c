#include "ota/rules/cohort.h"

#include "rules/cases.h"

static void sizes_are_those_of_the_case_file(void **state)
{
	struct cases cases;

	(void)state;
	cases_open(&cases, "cohort.cases");
	while (cases_next(&cases)) {
		assert_int_equal(cases.count, 7);
		int64_t value[7];

		for (int i = 0; i < 7; i++) {
			value[i] = cases_number(&cases, cases.word[i]);
		}
		int64_t size = cohort_size(
			value[0], (int32_t)value[1], value[2], value[3] != 0, value[4] != 0, value[5]);

		if (size != value[6]) {
			fail_msg("line %d: %" PRId64 " instead of %" PRId64, cases.line, size, value[6]);
		}
	}
}

/* Stage after stage the cohort only grows, stays within the fleet, and is the whole fleet at 100 %. */
static void cohorts_grow_from_stage_to_stage(void **state)
{
	static const int32_t percents[] = { 1000, 10000, 50000, 100000 };

	(void)state;
	for (int64_t eligible = 0; eligible <= 500; eligible++) {
		int64_t chosen = 0;

		for (size_t i = 0; i < 4; i++) {
			int64_t size = cohort_size(eligible, percents[i], 0, i == 0, i == 3, chosen);

			assert_true(size >= chosen && size <= eligible);
			/* Exactly the rounded up share, but for the first stage's limit. */
			assert_true(size == eligible || size * 100000 >= eligible * percents[i]);
			assert_true(size == chosen || (size - 1) * 100000 < eligible * percents[i]);
			assert_true(i > 0 || eligible <= 1 || size < eligible);
			chosen = size;
		}
		assert_int_equal(chosen, eligible);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_those_of_the_case_file),
		cmocka_unit_test(cohorts_grow_from_stage_to_stage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
