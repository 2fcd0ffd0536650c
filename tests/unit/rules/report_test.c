#include "ota/rules/report.h"

#include "rules/cases.h"

static void every_status_has_a_name_and_is_found_by_it(void **state)
{
	(void)state;
	for (int i = 0; i < REPORT_STATUS_COUNT; i++) {
		const char *name = report_status_name((enum report_status)i);
		enum report_status found = REPORT_STATUS_COUNT;

		assert_true(strlen(name) > 0);
		assert_true(report_status_parse(name, strlen(name), &found));
		assert_int_equal(found, i);
	}
	assert_string_equal(report_status_name(REPORT_STATUS_COUNT), "UNKNOWN");
}

struct spelling {
	const char *text;
	size_t length;
	int expected; /* REPORT_STATUS_COUNT: refused */
};

static void letter_case_does_not_matter_and_length_does(void **state)
{
	static const struct spelling spellings[] = {
		{ "success", 7, REPORT_SUCCESS },
		{ "Rolled_Back", 11, REPORT_ROLLED_BACK },
		{ "iDLE", 4, REPORT_IDLE },
		{ "IDLEx", 4, REPORT_IDLE },
		{ "IDLEx", 5, REPORT_STATUS_COUNT },
		{ "IDL", 3, REPORT_STATUS_COUNT },
		{ "IDLE\0", 5, REPORT_STATUS_COUNT },
		{ "\0", 1, REPORT_STATUS_COUNT },
		{ "", 0, REPORT_STATUS_COUNT },
		{ NULL, 0, REPORT_STATUS_COUNT },
		{ " IDLE", 5, REPORT_STATUS_COUNT },
		{ "ROLLED-BACK", 11, REPORT_STATUS_COUNT },
		{ "UNKNOWN", 7, REPORT_STATUS_COUNT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		enum report_status found = REPORT_STATUS_COUNT;
		bool known = report_status_parse(spellings[i].text, spellings[i].length, &found);

		assert_int_equal(known, spellings[i].expected != REPORT_STATUS_COUNT);
		assert_int_equal(found, spellings[i].expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_status_has_a_name_and_is_found_by_it),
		cmocka_unit_test(letter_case_does_not_matter_and_length_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
