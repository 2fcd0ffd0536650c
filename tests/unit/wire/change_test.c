/* Changes own everything they hold: the sanitizer's leak check is the other half of this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/change.h"

static void test_a_new_change_is_zeroed(void **state)
{
	struct change expected;
	struct change *change = change_new(CHANGE_ROLLOUT);

	(void)state;
	assert_non_null(change);
	memset(&expected, 0, sizeof(expected));
	expected.kind = CHANGE_ROLLOUT;
	assert_memory_equal(change, &expected, sizeof(expected));
	change_free(change);
}

static void test_everything_is_freed(void **state)
{
	struct change *change = change_new(CHANGE_OFFER);

	(void)state;
	assert_non_null(change);
	change->device = strdup("device");
	change->topic = strdup("topic");
	change->fleet = strdup("fleet");
	change->hardware = strdup("hardware");
	change->version = strdup("1.5.0");
	change->stage = strdup("canary");
	change->text = strdup("text");
	change->release = calloc(1, sizeof(*change->release));
	assert_non_null(change->release);
	change_free(change);
	change_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_new_change_is_zeroed),
		cmocka_unit_test(test_everything_is_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
