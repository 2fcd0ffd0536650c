#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/base/keyhash.h"
#include "ota/base/set.h"

struct item {
	int number;
	bool inside;
};

static uint64_t (*number_hash)(int number);

static uint64_t scattered(int number)
{
	return keyhash(&number, sizeof(number));
}

/* Everybody wants one of three places at the end: long runs that go on at the beginning. */
static uint64_t crowded(int number)
{
	return UINT64_MAX - (uint64_t)number % 3;
}

static uint64_t hash_item(const void *item)
{
	return number_hash(((const struct item *)item)->number);
}

static bool is_item(const void *item, const void *key)
{
	return ((const struct item *)item)->number == *(const int *)key;
}

static void *find(const struct set *set, int number)
{
	return set_find(set, number_hash(number), is_item, &number);
}

/* As many items come and go by chance as a table of flags says. */
static void play(int items, int moves)
{
	struct item *all = calloc((size_t)items, sizeof(*all));
	struct set set = { 0 };
	size_t count = 0;
	unsigned random = 12345;

	assert_non_null(all);
	for (int i = 0; i < items; i++) {
		all[i].number = i;
	}
	for (int move = 0; move < moves; move++) {
		struct item *item;

		random = random * 1103515245U + 12345U;
		item = &all[(random >> 8) % (unsigned)items];
		if (item->inside) {
			set_remove(&set, hash_item, item);
		} else {
			assert_int_equal(set_add(&set, hash_item, item), OTA_OK);
		}
		count += item->inside ? (size_t)-1 : 1;
		item->inside = !item->inside;
		assert_int_equal(set.count, count);
		if (move % (moves / 50) == 0) {
			struct item *seen;
			size_t at = 0;
			size_t met = 0;

			for (int i = 0; i < items; i++) {
				assert_ptr_equal(find(&set, i), all[i].inside ? &all[i] : NULL);
			}
			while ((seen = set_next(&set, &at)) != NULL) {
				assert_true(seen->inside);
				met++;
			}
			assert_int_equal(met, count);
		}
	}
	set_clear(&set);
	assert_int_equal(set.count, 0);
	assert_null(find(&set, 0));
	free(all);
}

static void test_scattered(void **state)
{
	(void)state;
	number_hash = scattered;
	play(3000, 40000);
}

static void test_crowded(void **state)
{
	(void)state;
	number_hash = crowded;
	play(60, 5000);
}

static void test_edges(void **state)
{
	struct item one = { .number = 1 };
	struct item other = { .number = 2 };
	struct set set = { 0 };
	size_t at = 0;

	(void)state;
	number_hash = scattered;
	assert_null(find(&set, 1));
	assert_null(set_next(&set, &at));
	set_remove(&set, hash_item, &one);
	assert_int_equal(set_add(&set, hash_item, &one), OTA_OK);
	set_remove(&set, hash_item, &other); /* is not in it */
	assert_ptr_equal(find(&set, 1), &one);
	set_clear(&set);
	set_clear(&set);
	assert_int_equal(set_add(&set, hash_item, &one), OTA_OK);
	set_clear(&set);
}

/* An entry costs what the header says. */
static void test_room(void **state)
{
	enum {
		ITEMS = 10000
	};
	struct item *all = calloc(ITEMS, sizeof(*all));
	struct set set = { 0 };

	(void)state;
	number_hash = scattered;
	assert_non_null(all);
	for (int i = 0; i < ITEMS; i++) {
		all[i].number = i;
		assert_int_equal(set_add(&set, hash_item, &all[i]), OTA_OK);
		assert_true(set.count * 4 <= set.size * 3);
		assert_true(set.size <= 16 || set.count * 8 > set.size * 3);
	}
	set_clear(&set);
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scattered),
		cmocka_unit_test(test_crowded),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
