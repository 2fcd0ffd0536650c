/* Hexadecimal digits, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ota/base/hex.h"

static void digits(void **state)
{
	static const char lower[] = "0123456789abcdef";
	static const char upper[] = "0123456789ABCDEF";

	(void)state;
	for (int c = -128; c < 128; c++) {
		const char *place = c == 0 ? NULL : strchr(lower, c);
		int expected = place == NULL ? -1 : (int)(place - lower);

		if (place == NULL && c != 0 && (place = strchr(upper, c)) != NULL) {
			expected = (int)(place - upper);
		}
		assert_int_equal(hex_digit((char)c), expected);
	}
}

static void there_and_back(void **state)
{
	uint8_t bytes[256];
	uint8_t back[256];
	char text[2 * sizeof(bytes) + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)i;
	}
	memset(text, 'x', sizeof(text));
	hex_write(bytes, sizeof(bytes), text);
	assert_int_equal(strlen(text), 2 * sizeof(bytes));
	assert_memory_equal(text, "000102030405060708090a0b0c0d0e0f10", 34);
	assert_true(hex_read(text, sizeof(bytes), back));
	assert_memory_equal(back, bytes, sizeof(bytes));
	assert_true(hex_read("FFaA", 2, back));
	assert_int_equal(back[0] << 8 | back[1], 0xFFAA);
	hex_write(bytes, 0, text);
	assert_string_equal(text, "");
}

static void no_digits(void **state)
{
	static const char *const texts[] = { "", "a", "0g", "g0", "0", "00 0", "000" };
	uint8_t bytes[2];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_false(
			hex_read(texts[i], 2, bytes)); /* reads no further than the first that is none */
	}
	assert_true(hex_read("", 0, bytes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digits),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(no_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
