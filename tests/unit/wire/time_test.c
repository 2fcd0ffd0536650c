#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "ota/wire/time.h"

static void known_times(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "1970-01-01T00:00:00.001Z", 1 },
		{ "1969-12-31T23:59:59Z", -1000 },
		{ "2000-02-29T12:34:56Z", INT64_C(951827696000) },
		{ "2026-01-31T02:40:00Z", INT64_C(1769827200000) },
		{ "2026-01-31t02:40:00z", INT64_C(1769827200000) },
		{ "2026-01-31T03:40:00+01:00", INT64_C(1769827200000) },
		{ "2026-01-30T20:55:00-05:45", INT64_C(1769827200000) },
		{ "2026-01-31T02:40:00-00:00", INT64_C(1769827200000) },
		{ "2026-01-31T02:40:00.5Z", INT64_C(1769827200500) },
		{ "2026-01-31T02:40:00.123456789Z", INT64_C(1769827200123) },
		/* RFC 3339, section 5.8 */
		{ "1985-04-12T23:20:50.52Z", INT64_C(482196050520) },
		{ "1996-12-19T16:39:57-08:00", INT64_C(851042397000) },
		{ "1990-12-31T23:59:60Z", INT64_C(662688000000) },
		{ "1990-12-31T15:59:60-08:00", INT64_C(662688000000) },
		{ "1937-01-01T12:00:27.87+00:20", INT64_C(-1041337172130) },
		{ "0000-01-01T00:00:00Z", INT64_C(-62167219200000) },
		{ "9999-12-31T23:59:59.999Z", INT64_C(253402300799999) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = 42;

		if (time_parse_rfc3339(cases[i].text, &ms) != OTA_OK || ms != cases[i].ms) {
			fail_msg("%s gave %lld", cases[i].text, (long long)ms);
		}
	}
}

static void broken_times_are_refused(void **state)
{
	static const char *const cases[] = { "", "2026", "2026-01-31", "2026-01-31T02:40:00",
		"2026-01-31 02:40:00Z", "2026-01-31T02:40Z", "2026-1-31T02:40:00Z", "26-01-31T02:40:00Z",
		"2026-00-31T02:40:00Z", "2026-13-01T02:40:00Z", "2026-01-00T02:40:00Z",
		"2026-01-32T02:40:00Z", "2026-02-29T02:40:00Z", "2100-02-29T02:40:00Z",
		"2026-04-31T02:40:00Z", "2026-01-31T24:00:00Z", "2026-01-31T02:60:00Z",
		"2026-01-31T02:40:61Z", "2026-01-31T02:40:60Z", "2026-01-31T23:59:60+01:00",
		"2026-01-30T23:59:60Z", "2026-01-31T02:40:00.Z", "2026-01-31T02:40:00,5Z",
		"2026-01-31T02:40:00+24:00", "2026-01-31T02:40:00+01:60", "2026-01-31T02:40:00+0100",
		"2026-01-31T02:40:00+01", "2026-01-31T02:40:00Z ", " 2026-01-31T02:40:00Z",
		"2026-01-31T02:40:00ZZ", "+026-01-31T02:40:00Z", "-026-01-31T02:40:00Z", "20260131T024000Z",
		"2026-01-31T02:40:00Z\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = 42;

		if (time_parse_rfc3339(cases[i], &ms) != OTA_ERR_INVALID) {
			fail_msg("\"%s\" was accepted", cases[i]);
		}
		assert_int_equal(ms, 42);
	}
	assert_int_equal(time_parse_rfc3339(NULL, &(int64_t){ 0 }), OTA_ERR_INVALID);
}

static void formatting_cuts_to_seconds_and_clamps(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00Z" },
		{ 999, "1970-01-01T00:00:00Z" },
		{ -1, "1969-12-31T23:59:59Z" },
		{ INT64_C(1769827200999), "2026-01-31T02:40:00Z" },
		{ INT64_C(-62167219200000), "0000-01-01T00:00:00Z" },
		{ INT64_C(253402300799999), "9999-12-31T23:59:59Z" },
		{ INT64_C(253402300800000), "9999-12-31T23:59:59Z" },
		{ INT64_C(-62167219200001), "0000-01-01T00:00:00Z" },
		{ INT64_MAX, "9999-12-31T23:59:59Z" },
		{ INT64_MIN, "0000-01-01T00:00:00Z" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[TIME_TEXT_SIZE];

		time_format_rfc3339(cases[i].ms, text);
		assert_string_equal(text, cases[i].text);
	}
}

/* Every day from the year 1600 to 2400, against the C library's calendar, and back. */
static void agrees_with_the_c_library(void **state)
{
	const int64_t from = -135140;
	const int64_t to = 157054;

	(void)state;
	for (int64_t day = from; day < to; day++) {
		time_t seconds = (time_t)(day * 86400 + (day & 0xFFFF));
		struct tm parts;
		char expected[TIME_TEXT_SIZE];
		char text[TIME_TEXT_SIZE];
		int64_t ms = 0;

		assert_non_null(gmtime_r(&seconds, &parts));
		assert_int_not_equal(strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%SZ", &parts), 0);
		time_format_rfc3339((int64_t)seconds * 1000, text);
		if (strcmp(text, expected) != 0) {
			fail_msg("day %lld: %s, expected %s", (long long)day, text, expected);
		}
		assert_int_equal(time_parse_rfc3339(text, &ms), OTA_OK);
		assert_int_equal(ms, (int64_t)seconds * 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_times),
		cmocka_unit_test(broken_times_are_refused),
		cmocka_unit_test(formatting_cuts_to_seconds_and_clamps),
		cmocka_unit_test(agrees_with_the_c_library),
	};

	return cmocka_run_group_tests_name("time", tests, NULL, NULL);
}
