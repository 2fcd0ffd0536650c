#include "ota/rules/eligibility.h"

#include "rules/cases.h"

enum {
	LIST_MAX = 4
};

/* Cut a comma separated word in place. */
static size_t split_list(char *word, const char *list[LIST_MAX])
{
	size_t count = 0;

	while (cases_text(word) && word) {
		char *comma = strchr(word, ',');

		assert_true(count < LIST_MAX);
		list[count++] = word;
		if (!comma) {
			break;
		}
		*comma = '\0';
		word = comma + 1;
	}
	return count;
}

static int64_t time_of(const struct cases *cases, const char *word)
{
	return cases_text(word) ? cases_number(cases, word) : 0;
}

static void answers_are_those_of_the_case_file(void **state)
{
	bool seen[ELIGIBILITY_COUNT] = { false };
	struct cases cases;

	(void)state;
	cases_open(&cases, "eligibility.cases");
	while (cases_next(&cases)) {
		assert_int_equal(cases.count, 14);
		char **word = cases.word;
		const char *hardware[LIST_MAX];
		const char *fleets[LIST_MAX];
		struct release_terms terms = {
			.version = word[1],
			.sequence = cases_number(&cases, word[2]),
			.hardware = hardware,
			.hardware_count = split_list(word[3], hardware),
			.fleets = fleets,
			.fleets_count = split_list(word[4], fleets),
			.min_version = cases_text(word[5]),
			.max_version = cases_text(word[6]),
			.not_before_ms = time_of(&cases, word[7]),
			.expires_ms = time_of(&cases, word[8]),
		};
		struct device_facts device = {
			.fleet = cases_text(word[9]),
			.hardware = cases_text(word[10]),
			.version = cases_text(word[11]),
			.sequence = cases_number(&cases, word[12]),
		};
		enum eligibility found = eligibility_check(&terms, &device, cases_number(&cases, word[13]));

		seen[found] = true;
		if (strcmp(eligibility_code(found), word[0]) != 0) {
			fail_msg("line %d: %s instead of %s", cases.line, eligibility_code(found), word[0]);
		}
	}
	for (int i = 0; i < ELIGIBILITY_COUNT; i++) {
		assert_true(seen[i]);
	}
}

static void empty_texts_are_unknown_and_null_lists_are_any(void **state)
{
	static const char *const holes[] = { NULL, "hw1" };
	struct release_terms terms = { .version = "1.5.0", .sequence = 15 };
	struct device_facts device = { .fleet = "", .hardware = "", .version = "" };

	(void)state;
	terms.hardware_count = 3; /* a count without a list */
	assert_int_equal(eligibility_check(&terms, &device, 0), ELIGIBLE);
	terms.hardware = holes;
	terms.hardware_count = 2;
	assert_int_equal(eligibility_check(&terms, &device, 0), INELIGIBLE_HARDWARE);
	device.hardware = "hw1";
	assert_int_equal(eligibility_check(&terms, &device, 0), ELIGIBLE);
	/* An empty version is not "already there", whatever the terms say. */
	terms.version = "";
	assert_int_equal(eligibility_check(&terms, &device, 0), ELIGIBLE);
}

static void every_answer_has_its_own_code_and_words(void **state)
{
	(void)state;
	for (int i = 0; i < ELIGIBILITY_COUNT; i++) {
		const char *code = eligibility_code((enum eligibility)i);

		assert_true(strlen(eligibility_words((enum eligibility)i)) > 0);
		assert_string_not_equal(eligibility_words((enum eligibility)i), "unknown eligibility");
		for (int j = 0; j < i; j++) {
			assert_string_not_equal(code, eligibility_code((enum eligibility)j));
		}
	}
	assert_string_equal(eligibility_code(ELIGIBILITY_COUNT), "unknown");
	assert_string_equal(eligibility_words(ELIGIBILITY_COUNT), "unknown eligibility");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_those_of_the_case_file),
		cmocka_unit_test(empty_texts_are_unknown_and_null_lists_are_any),
		cmocka_unit_test(every_answer_has_its_own_code_and_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
