/* What others say must not end a line, move a cursor or turn what is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ota/base/printable.h"

static void test_table(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "device \"dev-1\", 100 %", "device \"dev-1\", 100 %" },
		{ "Grüße, 你好, 🚀, \u00a0\u00ff\u200b\uffff", "Grüße, 你好, 🚀, \u00a0\u00ff\u200b\uffff" },
		{ "a\nb\r\tc\x01\x1f", "a?b??c??" },
		{ "\x1b[2J", "?[2J" },
		{ "\x7f", "?" },
		/* C1: CSI, NEL and the others, as UTF-8 and as the bytes that an 8-bit terminal takes for them. */
		{ "\xc2\x80\xc2\x85\xc2\x9b\xc2\x9f.", "????." },
		{ "\x9b"
		  "31m\x85.",
			"?31m?." },
		{ "\u2028\u2029", "??" },
		{ "\u202a\u202b\u202c\u202d\u202e.\u2066\u2067\u2068\u2069.", "?????.????." },
		{ "\u2027\u202f\u2065\u206a", "\u2027\u202f\u2065\u206a" },
		/* Not UTF-8: overlong, surrogates, too large, cut, alone. */
		{ "\xc0\x8a\xc1\xbf\xe0\x80\x8a\xf0\x80\x80\x8a", "???????????" },
		{ "\xed\xa0\x80\xed\xbf\xbf", "??????" },
		{ "\xf4\x90\x80\x80\xf5\x80\x80\x80\xff", "?????????" },
		{ "\xf4\x8f\xbf\xbf\xee\x80\x80", "\xf4\x8f\xbf\xbf\xee\x80\x80" },
		{ "ab\xe4\xbd", "ab??" },
		{ "\xe4\xbd\nx\xc3", "???x?" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[128];

		(void)snprintf(text, sizeof(text), "%s", cases[i][0]);
		printable_make(text);
		assert_string_equal(text, cases[i][1]);
	}
}

/* Nothing below a blank and no half character is left of any two bytes. */
static void test_all_pairs(void **state)
{
	(void)state;
	for (int first = 1; first < 256; first++) {
		for (int second = 1; second < 256; second++) {
			char text[3] = { (char)first, (char)second, '\0' };

			printable_make(text);
			for (const char *at = text; *at != '\0'; at++) {
				unsigned char byte = (unsigned char)*at;

				if (byte >= 0x80) { /* two bytes of one character */
					assert_true(first >= 0xc2 && first < 0xe0 && (second & 0xc0) == 0x80);
					assert_false(first == 0xc2 && second < 0xa0);
				} else {
					assert_in_range(byte, ' ', '~');
				}
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_all_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
