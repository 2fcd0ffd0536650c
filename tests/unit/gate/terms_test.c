/* What the notices of many devices have in common is kept once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ota/gate/terms.h"
#include "ota/wire/change.h"

static char full[] = "full", canary[] = "canary", north[] = "north", south[] = "south";
static char version[] = "1.0.0", hub[] = "hub", empty[] = "";

static struct change first(void)
{
	return (struct change){ .stage = full, .fleet = north, .version = version, .sequence = 7 };
}

static void test_shared(void **state)
{
	struct terms_set set = { 0 };
	struct change offer = first();
	struct terms *terms = terms_hold(&set, &offer, "t");
	(void)state;

	assert_non_null(terms);
	assert_ptr_equal(terms_hold(&set, &offer, "t"), terms);
	assert_int_equal(terms->uses, 2);
	assert_string_equal(terms->stage, "full");
	assert_null(terms->hardware);
	terms_release(&set, terms);
	terms_release(&set, terms);
	assert_int_equal(set.all.count, 0);
	/* What was held last is gone. */
	terms = terms_hold(&set, &offer, "t");
	assert_int_equal(terms->uses, 1);
	terms_release(&set, terms);
	terms_clear(&set);
}

/* Whatever differs, and an empty text differs from none. */
static void test_different(void **state)
{
	struct change offers[] = { first(), first(), first(), first(), first(), first(), first(),
		first() };
	const size_t count = sizeof(offers) / sizeof(offers[0]);
	const char *topics[] = { "t", "t", "t", "t", "t", "t", "t", NULL };
	struct terms *terms[8];
	struct terms_set set = { 0 };
	(void)state;

	offers[1].stage = canary;
	offers[2].fleet = south;
	offers[3].hardware = empty;
	offers[4].version = NULL;
	offers[5].via = hub;
	offers[6].sequence = 8;
	for (int turn = 0; turn < 2; turn++) {
		for (size_t i = 0; i < count; i++) {
			struct terms *held = terms_hold(&set, &offers[i], topics[i]);

			assert_non_null(held);
			if (turn == 0) {
				terms[i] = held;
			}
			assert_ptr_equal(held, terms[i]);
			for (size_t before = 0; before < i; before++) {
				assert_ptr_not_equal(held, terms[before]);
			}
		}
	}
	assert_int_equal(set.all.count, count);
	for (size_t i = 0; i < count; i++) {
		terms_release(&set, terms[i]);
		terms_release(&set, terms[i]);
	}
	assert_int_equal(set.all.count, 0);
	terms_clear(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_different),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
