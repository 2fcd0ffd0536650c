#include "ota/rules/version.h"

#include "rules/cases.h"

static int sign(int value)
{
	return (value > 0) - (value < 0);
}

static void valid_follows_the_grammar(void **state)
{
	struct cases cases;

	(void)state;
	cases_open(&cases, "version_valid.cases");
	while (cases_next(&cases)) {
		assert_int_equal(cases.count, 2);
		bool expected = strcmp(cases.word[0], "valid") == 0;

		if (version_valid(cases.word[1]) != expected) {
			fail_msg("line %d: %s should be %s", cases.line, cases.word[1], cases.word[0]);
		}
	}
	assert_true(cases.number >= 50);
}

static void what_no_case_file_can_hold_is_invalid(void **state)
{
	(void)state;
	assert_false(version_valid(NULL));
	assert_false(version_valid(""));
	assert_false(version_valid(" 1.2.3"));
	assert_false(version_valid("1.2.3 "));
	assert_false(version_valid("1.2.3\n"));
	assert_false(version_valid("1.2.3-#"));
}

static void precedence_follows_item_11(void **state)
{
	struct cases cases;

	(void)state;
	cases_open(&cases, "version_order.cases");
	while (cases_next(&cases)) {
		assert_int_equal(cases.count, 3);
		int expected = strcmp(cases.word[1], "<") == 0 ? -1 : 0;

		if (sign(version_compare(cases.word[0], cases.word[2])) != expected
			|| sign(version_compare(cases.word[2], cases.word[0])) != -expected) {
			fail_msg("line %d: %s %s %s does not hold", cases.line, cases.word[0], cases.word[1],
				cases.word[2]);
		}
	}
	assert_true(cases.number >= 30);
}

/* Every version of the case file against every other: antisymmetric and transitive. */
static void precedence_is_an_order(void **state)
{
	char versions[80][VERSION_MAX + 1];
	size_t count = 0;
	struct cases cases;

	(void)state;
	cases_open(&cases, "version_order.cases");
	while (cases_next(&cases)) {
		assert_true(count + 2 <= sizeof(versions) / sizeof(versions[0]));
		(void)snprintf(versions[count++], sizeof(versions[0]), "%.64s", cases.word[0]);
		(void)snprintf(versions[count++], sizeof(versions[0]), "%.64s", cases.word[2]);
	}
	for (size_t a = 0; a < count; a++) {
		for (size_t b = 0; b < count; b++) {
			int ab = sign(version_compare(versions[a], versions[b]));

			assert_int_equal(ab, -sign(version_compare(versions[b], versions[a])));
			for (size_t c = 0; ab <= 0 && c < count; c++) {
				if (version_compare(versions[b], versions[c]) <= 0) {
					assert_true(version_compare(versions[a], versions[c]) <= 0);
				}
			}
		}
	}
}

static void an_invalid_version_is_lowest(void **state)
{
	(void)state;
	assert_true(version_compare("nonsense", "0.0.0-0") < 0);
	assert_true(version_compare("0.0.0-0", NULL) > 0);
	assert_int_equal(version_compare("nonsense", "1.2"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_follows_the_grammar),
		cmocka_unit_test(what_no_case_file_can_hold_is_invalid),
		cmocka_unit_test(precedence_follows_item_11),
		cmocka_unit_test(precedence_is_an_order),
		cmocka_unit_test(an_invalid_version_is_lowest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
