/* SipHash-1-3 against another implementation's values, and that its key is used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ota/base/keyhash.h"

/* What CPython 3.11 says: PYTHONHASHSEED=0 python3 -c "print(hex(hash(b'abc') & (2**64 - 1)))"; the last with PYTHONHASHSEED=1. */
static void test_values(void **state)
{
	static const struct {
		uint64_t key[2];
		const char *text;
		uint64_t hash;
	} cases[] = {
		{ { 0, 0 }, "a", UINT64_C(0x407448d2b89b1813) },
		{ { 0, 0 }, "ab", UINT64_C(0x555508cbc6add439) },
		{ { 0, 0 }, "abcdefg", UINT64_C(0x6db12aae9070f506) },
		{ { 0, 0 }, "abcdefgh", UINT64_C(0x3f7b849c0b8e35ea) },
		{ { 0, 0 }, "abcdefghi", UINT64_C(0xf89b34a3d11eb6e5) },
		{ { 0, 0 }, "abcdefghij", UINT64_C(0xf47c264806c40ff1) },
		{ { 0, 0 }, "abcdefghijklmno", UINT64_C(0x1fd27a29b0e9dc7a) },
		{ { 0, 0 }, "abcdefghijklmnop", UINT64_C(0x94f60d3d29e6a312) },
		{ { 0, 0 }, "abcdefghijklmnopq", UINT64_C(0x61c47e6da27eaccc) },
		{ { 0, 0 }, "steady-00001 and more of it, to be long", UINT64_C(0xee1d98164ab716b) },
		{ { UINT64_C(0xaed66ce184be2329), UINT64_C(0xebe9bbf1f1499052) }, "steady-00001",
			UINT64_C(0xe5271a9f8571487f) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(
			keyhash_with(cases[i].key, cases[i].text, strlen(cases[i].text)) == cases[i].hash);
	}
}

static void test_the_process_has_a_key(void **state)
{
	const uint64_t none[2] = { 0, 0 };

	(void)state;
	assert_true(keyhash("client", 6) == keyhash("client", 6));
	assert_true(keyhash("client", 6) != keyhash("clients", 7));
	assert_true(keyhash("client", 6) != keyhash_with(none, "client", 6));
	assert_true(keyhash(NULL, 0) == keyhash("", 0));
}

/* Names that differ little are spread as if by chance: 4,096 of them over 256 places. */
static void test_places_are_spread(void **state)
{
	unsigned places[256] = { 0 };

	(void)state;
	for (int i = 0; i < 4096; i++) {
		char name[16];
		int length = snprintf(name, sizeof(name), "dev-%05d", i);

		places[keyhash(name, (size_t)length) % 256]++;
	}
	for (size_t i = 0; i < 256; i++) { /* 16 on the average; 64 happens once in 10^17 runs */
		assert_in_range(places[i], 0, 64);
	}
}

/* Addresses as an allocator gives them, one behind the other: 4,096 of them over 256 places, by the low bits as in a table. */
static void test_addresses_are_spread(void **state)
{
	(void)state;
	assert_true(keyhash_address(state) == keyhash_address(state));
	assert_true(keyhash_address(NULL) == 0);
	for (uintptr_t step = 16; step <= 65536; step *= 2) {
		unsigned places[256] = { 0 };

		for (uintptr_t i = 0; i < 4096; i++) {
			const uintptr_t address = UINT64_C(0x55d0c3a01000) + i * (step + 48);

			places[keyhash_address((const void *)address) % 256]++;
		}
		for (size_t i = 0; i < 256; i++) { /* 16 on the average */
			assert_in_range(places[i], 0, 128);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_the_process_has_a_key),
		cmocka_unit_test(test_places_are_spread),
		cmocka_unit_test(test_addresses_are_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
