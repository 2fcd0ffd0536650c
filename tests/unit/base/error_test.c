/* The reason and the names of the error codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ota/base/error.h"

static void test_why_is_formatted(void **state)
{
	struct ota_why why = { { 0 } };

	(void)state;
	ota_why_set(&why, "%s is %d, accepted is %s", "progress", 101, "0..100");
	assert_string_equal(why.text, "progress is 101, accepted is 0..100");
}

static void test_why_is_cut_and_terminated(void **state)
{
	struct ota_why why;
	char longer[sizeof(why.text) + 100];

	(void)state;
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	memset(&why, 0x55, sizeof(why));
	ota_why_set(&why, "%s", longer);
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
	assert_memory_equal(why.text, longer, sizeof(why.text) - 1);
}

static void test_why_may_be_null(void **state)
{
	(void)state;
	ota_why_set(NULL, "%d", 1);
}

static void test_every_code_has_its_own_name(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= OTA_ERR_STATE; i++) {
		const char *name = ota_err_name((enum ota_err)i);

		assert_non_null(name);
		assert_string_not_equal(name, "unknown error");
		for (unsigned j = 0; j < i; j++) {
			assert_string_not_equal(name, ota_err_name((enum ota_err)j));
		}
	}
	assert_string_equal(ota_err_name(OTA_OK), "ok");
	assert_string_equal(ota_err_name(OTA_ERR_DENIED), "denied");
}

static void test_unknown_codes_have_a_name_too(void **state)
{
	(void)state;
	assert_string_equal(ota_err_name((enum ota_err)(OTA_ERR_STATE + 1)), "unknown error");
	assert_string_equal(ota_err_name((enum ota_err) - 1), "unknown error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_why_is_formatted),
		cmocka_unit_test(test_why_is_cut_and_terminated),
		cmocka_unit_test(test_why_may_be_null),
		cmocka_unit_test(test_every_code_has_its_own_name),
		cmocka_unit_test(test_unknown_codes_have_a_name_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
