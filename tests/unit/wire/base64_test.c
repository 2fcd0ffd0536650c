#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/base64.h"

struct pair {
	const char *text;
	const char *bytes;
	size_t length;
};

/* RFC 4648, section 10, and what needs the last characters of the alphabets. */
static const struct pair VECTORS[] = {
	{ "", "", 0 },
	{ "Zg==", "f", 1 },
	{ "Zm8=", "fo", 2 },
	{ "Zm9v", "foo", 3 },
	{ "Zm9vYg==", "foob", 4 },
	{ "Zm9vYmE=", "fooba", 5 },
	{ "Zm9vYmFy", "foobar", 6 },
	{ "+/+/", "\xfb\xff\xbf", 3 },
	{ "AAAA", "\0\0\0", 3 },
};

static void vectors_both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(VECTORS) / sizeof(VECTORS[0]); i++) {
		const struct pair *v = &VECTORS[i];
		uint8_t *bytes = NULL;
		size_t length = 99;
		char *text = base64_encode((const uint8_t *)v->bytes, v->length);

		assert_string_equal(text, v->text);
		assert_int_equal(base64_decode(v->text, strlen(v->text), &bytes, &length), OTA_OK);
		assert_int_equal(length, v->length);
		assert_memory_equal(bytes, v->bytes, v->length);
		assert_int_equal(bytes[length], 0);
		free(bytes);
		free(text);
	}
}

static void other_alphabet_and_no_padding(void **state)
{
	static const struct pair cases[] = {
		{ "-_-_", "\xfb\xff\xbf", 3 },
		{ "Zg", "f", 1 },
		{ "Zm8", "fo", 2 },
		{ "Zm9vYg", "foob", 4 },
		{ "-w==", "\xfb", 1 },
		{ "_w", "\xff", 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *bytes = NULL;
		size_t length = 99;

		assert_int_equal(
			base64_decode(cases[i].text, strlen(cases[i].text), &bytes, &length), OTA_OK);
		assert_int_equal(length, cases[i].length);
		assert_memory_equal(bytes, cases[i].bytes, length);
		free(bytes);
	}
}

static void broken_texts_are_refused(void **state)
{
	static const char *const cases[] = {
		"Z",
		"Zg=",
		"Zg===",
		"=",
		"==",
		"====",
		"Zm9v=",
		"Zm9v====",
		"Zg==Zg==",
		"Z=g=",
		"Zm8==",
		"Zh==", /* bits that are cut off are not zero */
		"Zm9=", /* the same for two characters */
		"Zh",
		"Zm9",
		"+/-_",
		"+_+_",
		"Zm 9v",
		" Zm9v",
		"Zm9v ",
		"Zm9v\n",
		"Zm9\xc3\xbc",
		"Zm.v",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *bytes = NULL;
		size_t length = 99;

		if (base64_decode(cases[i], strlen(cases[i]), &bytes, &length) != OTA_ERR_INVALID) {
			fail_msg("\"%s\" was accepted", cases[i]);
		}
		assert_null(bytes);
		assert_int_equal(length, 99);
	}
}

static void zero_byte_in_the_text_is_refused(void **state)
{
	uint8_t *bytes = NULL;
	size_t length = 0;

	(void)state;
	assert_int_equal(base64_decode("Zm\0v", 4, &bytes, &length), OTA_ERR_INVALID);
}

static void every_length_round_trips(void **state)
{
	uint8_t data[257];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++) {
		data[i] = (uint8_t)(i * 89 + 31);
	}
	for (size_t n = 0; n <= sizeof(data); n++) {
		uint8_t *bytes = NULL;
		size_t length = 0;
		char *text = base64_encode(data, n);

		assert_int_equal(strlen(text), (n + 2) / 3 * 4);
		assert_int_equal(base64_decode(text, strlen(text), &bytes, &length), OTA_OK);
		assert_int_equal(length, n);
		assert_memory_equal(bytes, data, n);
		free(bytes);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_both_ways),
		cmocka_unit_test(other_alphabet_and_no_padding),
		cmocka_unit_test(broken_texts_are_refused),
		cmocka_unit_test(zero_byte_in_the_text_is_refused),
		cmocka_unit_test(every_length_round_trips),
	};

	return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
