/* Status reports: what devices in the field write, what they may not, and what reaches the database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/status.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Parse an exact copy, so that reading behind the payload shows under the sanitizer. */
static enum ota_err parse(const char *text, struct status_report *report, struct ota_why *why)
{
	size_t length = strlen(text);
	char *copy = malloc(length + (length == 0));
	enum ota_err err;

	assert_non_null(copy);
	memcpy(copy, text, length);
	err = status_report_parse(copy, length, report, why);
	free(copy);
	return err;
}

static struct status_report parse_good(const char *text)
{
	struct status_report report;
	struct ota_why why = { { 0 } };

	memset(&report, 0x55, sizeof(report));
	if (parse(text, &report, &why) != OTA_OK) {
		fail_msg("%s: %s", text, why.text);
	}
	assert_int_equal(report.json_length, strlen(report.json));
	return report;
}

static void test_the_report_of_the_contract(void **state)
{
	static const char text[] = "{\"version\":\"1.5.0\",\"status\":\"SUCCESS\",\"checks\":"
							   "{\"mqttConnected\":true,\"gpsLock\":true},"
							   "\"ts\":\"2026-01-31T02:10:04Z\"}";
	struct status_report report = parse_good(text);

	(void)state;
	assert_int_equal(report.status, REPORT_SUCCESS);
	assert_string_equal(report.version, "1.5.0");
	assert_string_equal(report.previous_version, "");
	assert_string_equal(report.error, "");
	assert_int_equal(report.progress, -1);
	assert_int_equal(report.attempt, 0);
	assert_int_equal(report.retry_after_ms, 0);
	assert_string_equal(report.json, text); /* unknown members are kept */
	status_report_free(&report);
	assert_null(report.json);
	status_report_free(&report);
	status_report_free(NULL);
}

static void test_every_member(void **state)
{
	struct status_report report = parse_good(
		" {\"version\":\"v2 beta\",\"previousVersion\":\"1.4\",\"status\":\"deferred\",\"error\":"
		"\"LOW_BATTERY\",\"progress\":99.9,\"hardware\":\"rev-c\",\"attempt\":2147483647,\"bootId\":"
		"\"3e9f\",\"slot\":\"B\",\"retryAfter\":1.5}\r\n");

	(void)state;
	assert_int_equal(report.status, REPORT_DEFERRED);
	assert_string_equal(report.version, "v2 beta");
	assert_string_equal(report.previous_version, "1.4");
	assert_string_equal(report.error, "LOW_BATTERY");
	assert_int_equal(report.progress, 99);
	assert_string_equal(report.hardware, "rev-c");
	assert_int_equal(report.attempt, INT32_MAX);
	assert_string_equal(report.boot_id, "3e9f");
	assert_string_equal(report.slot, "B");
	assert_int_equal(report.retry_after_ms, 1500);
	status_report_free(&report);
}

static void test_null_is_absent(void **state)
{
	struct status_report report = parse_good(
		"{\"version\":\"1\",\"previousVersion\":null,\"status\":null,\"error\":null,\"progress\":null,"
		"\"hardware\":null,\"attempt\":null,\"bootId\":null,\"slot\":null,\"retryAfter\":null}");

	(void)state;
	assert_int_equal(report.status, REPORT_IDLE);
	assert_string_equal(report.previous_version, "");
	assert_string_equal(report.error, "");
	assert_int_equal(report.progress, -1);
	assert_string_equal(report.hardware, "");
	assert_int_equal(report.attempt, 0);
	assert_string_equal(report.boot_id, "");
	assert_string_equal(report.slot, "");
	assert_int_equal(report.retry_after_ms, 0);
	status_report_free(&report);
	report = parse_good("{\"version\":null,\"status\":\"failed\"}");
	assert_string_equal(report.version, "");
	status_report_free(&report);
}

static void test_every_status_in_any_letter_case(void **state)
{
	(void)state;
	for (int i = 0; i < REPORT_STATUS_COUNT; i++) {
		const char *name = report_status_name((enum report_status)i);
		char text[128] = "{\"version\":\"1\",\"status\":\"";
		size_t used = strlen(text);
		struct status_report report;
		struct ota_why why = { { 0 } };

		for (size_t j = 0; name[j]; j++) {
			text[used++] = (char)(j % 2 && name[j] != '_' ? name[j] | 0x20 : name[j]);
		}
		memcpy(text + used, "\"}", 3);
		report = parse_good(text);
		assert_int_equal(report.status, i);
		status_report_free(&report);

		/* The refusal lists every one of them. */
		assert_int_equal(parse("{\"status\":\"DONE\"}", &report, &why), OTA_ERR_INVALID);
		assert_non_null(strstr(why.text, name));
		assert_non_null(strstr(why.text, "\"DONE\""));
	}
}

static void test_texts_are_cut_at_a_character(void **state)
{
	static const struct {
		const char *given;
		const char *read;
	} cases[] = {
		{ "", "" },
		{ "012345678901234567890123456789012345678901234567890123456789012",
			"012345678901234567890123456789012345678901234567890123456789012" },
		{ "0123456789012345678901234567890123456789012345678901234567890123",
			"012345678901234567890123456789012345678901234567890123456789012" },
		{ "01234567890123456789012345678901234567890123456789012345678901\xc3\xa9",
			"01234567890123456789012345678901234567890123456789012345678901" },
		{ "012345678901234567890123456789012345678901234567890123456789\xf0\x9f\x94\xa5z",
			"012345678901234567890123456789012345678901234567890123456789" },
		{ "012345678901234567890123456789012345678901234567890123456789\xe2\x82\xacz",
			"012345678901234567890123456789012345678901234567890123456789\xe2\x82\xac" },
		{ "a\\nb\\u001b\\u007f\\u0085c\xc2\xa0", "a?b????c\xc2\xa0" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		static const char *const names[] = { "error", "bootId", "slot" };
		char text[256];
		struct status_report report;

		for (size_t j = 0; j < COUNT(names); j++) {
			const char *read;

			text[0] = '\0';
			assert_true(snprintf(text, sizeof(text), "{\"version\":\"1\",\"%s\":\"%s\"}", names[j],
							cases[i].given)
				> 0);
			report = parse_good(text);
			read = j == 0 ? report.error : j == 1 ? report.boot_id : report.slot;
			assert_string_equal(read, cases[i].read);
			status_report_free(&report);
		}
	}
}

static void test_numbers_as_text(void **state)
{
	struct status_report report =
		parse_good("{\"status\":\"failed\",\"bootId\":9007199254740991,\"error\":-17,\"slot\":0}");

	(void)state;
	assert_string_equal(report.boot_id, "9007199254740991");
	assert_string_equal(report.error, "-17");
	assert_string_equal(report.slot, "0");
	status_report_free(&report);
}

static void test_a_long_wait_is_clamped(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
		{ "{\"status\":\"failed\",\"retryAfter\":0}", 0 },
		{ "{\"status\":\"failed\",\"retryAfter\":-0}", 0 },
		{ "{\"status\":\"failed\",\"retryAfter\":0.0005}", 0 },
		{ "{\"status\":\"failed\",\"retryAfter\":60}", 60000 },
		{ "{\"status\":\"failed\",\"retryAfter\":31449600}", INT64_C(31449600000) },
		{ "{\"status\":\"failed\",\"retryAfter\":31449601}", INT64_C(31449600000) },
		{ "{\"status\":\"failed\",\"retryAfter\":1e308}", INT64_C(31449600000) },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct status_report report = parse_good(cases[i].text);

		assert_int_equal(report.retry_after_ms, cases[i].ms);
		status_report_free(&report);
	}
}

static void test_bad_reports_are_refused_with_the_reason(void **state)
{
	static const struct {
		const char *text;
		const char *reason;
	} cases[] = {
		{ "", "is empty" },
		{ "SUCCESS", "" },
		{ "\"SUCCESS\"", "" },
		{ "[]", "" },
		{ "null", "" },
		{ "{", "" },
		{ "{}x", "" },
		{ "{\"version\":\"1\"", "" },
		{ "{\"version\":\"1\",\"version\":\"2\"}", "" },
		{ "{\"a\":{\"b\":1,\"b\":2}}", "" },
		{ "{\"a\":\"\\u0000\"}", "" },
		{ "{\"\\u0000\":1}", "" },
		{ "{\"a\":\"\\ud800\"}", "" },
		{ "{\"a\":\"\\udc00\\ud800\"}", "" },
		{ "{\"a\":\"\xff\"}", "" },
		{ "{\"a\":\"\xed\xa0\x80\"}", "" },
		{ "{\"a\":1e999}", "" },
		{ "{\"a\":NaN}", "" },
		{ "{\"a\":1e-309}", "large exponent, accepted are -308 to 308" },
		{ "{\"a\":0e99999999999999999999}", "large exponent" },
		{ "{\"a\":[0,0.0E+309]}", "large exponent" },
		{ "{\"a\":[[[[[[[[1]]]]]]]]}", "" },
		{ "{\"version\":\"\"}", "version is \"\", accepted is text of 1 to 64 bytes" },
		{ "{\"version\":1.5}", "version is 1.5, accepted is text" },
		{ "{\"version\":\"1\\n2\"}", "version is \"1?2\"" },
		{ "{\"version\":\"1\\u00852\"}", "version is" },
		{ "{\"version\":\"01234567890123456789012345678901234567890123456789012345678901234\"}",
			"version is" },
		{ "{\"previousVersion\":{}}", "previousVersion is an object" },
		{ "{\"status\":\"DONE\"}", "status is \"DONE\", accepted is one of IDLE" },
		{ "{\"status\":\"\"}", "status is \"\"" },
		{ "{\"status\":1}", "status is 1" },
		{ "{}", "version is missing, IDLE needs" },
		{ "{\"status\":\"IDLE\"}", "version is missing" },
		{ "{\"status\":\"SUCCESS\"}", "version is missing" },
		{ "{\"status\":\"success\",\"version\":null}", "version is missing" },
		{ "{\"error\":true}", "error is true, accepted is text or a number" },
		{ "{\"bootId\":[]}", "bootId is a list" },
		{ "{\"slot\":{}}", "slot is an object" },
		{ "{\"hardware\":7}", "hardware is 7, accepted is text" },
		{ "{\"hardware\":\"a\\tb\"}", "hardware is" },
		{ "{\"hardware\":\"0123456789012345678901234567890123456789012345678901234567890123\"}",
			"of up to 63 bytes" },
		{ "{\"progress\":-1}", "progress is -1, accepted is a number from 0 to 100" },
		{ "{\"progress\":100.5}", "progress is 100.5" },
		{ "{\"progress\":\"50\"}", "progress is \"50\"" },
		{ "{\"attempt\":-1}", "attempt is -1, accepted is an integer from 0 to 2147483647" },
		{ "{\"attempt\":2147483648}", "attempt is 2147483648" },
		{ "{\"attempt\":1.5}", "attempt is 1.5" },
		{ "{\"attempt\":\"1\"}", "attempt is \"1\"" },
		{ "{\"status\":\"failed\",\"retryAfter\":-1}", "retryAfter is -1" },
		{ "{\"status\":\"failed\",\"retryAfter\":\"1h\"}", "retryAfter is \"1h\"" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct status_report report;
		struct ota_why why = { { 0 } };

		memset(&report, 0x55, sizeof(report));
		if (parse(cases[i].text, &report, &why) != OTA_ERR_INVALID || why.text[0] == '\0'
			|| !strstr(why.text, cases[i].reason)) {
			fail_msg("%s: '%s' does not say '%s'", cases[i].text, why.text, cases[i].reason);
		}
		assert_int_equal(report.progress, 0x55555555); /* nothing was set */
		assert_int_equal(parse(cases[i].text, &report, NULL), OTA_ERR_INVALID);
	}
}

static void test_sizes(void **state)
{
	static const char good[] = "{\"version\":\"1\"}";
	char text[STATUS_PAYLOAD_MAX + 2];
	struct status_report report;
	struct ota_why why = { { 0 } };

	(void)state;
	memset(text, ' ', sizeof(text));
	memcpy(text, good, sizeof(good) - 1);
	assert_int_equal(
		status_report_parse(text, STATUS_PAYLOAD_MAX + 1, &report, &why), OTA_ERR_FULL);
	assert_string_equal(why.text, "status report has 8193 bytes, accepted are at most 8192");
	assert_int_equal(status_report_parse(text, STATUS_PAYLOAD_MAX, &report, &why), OTA_OK);
	assert_string_equal(report.json, good);
	status_report_free(&report);
}

static void test_the_words_of_the_device_are_kept(void **state)
{
	static const struct {
		const char *text;
		const char *json;
	} cases[] = {
		{ " { \"version\" : \"1\" } ", "{\"version\":\"1\"}" },
		{ " \t\r\n{ \"version\":\"1\",\"a b\" : [ 1 , 2 ] , \"c\" : true }\n",
			"{\"version\":\"1\",\"a b\":[1,2],\"c\":true}" },
		{ "{\"version\":\"1\",\"us\":1769825404123456789,\"id\":9007199254740993}",
			"{\"version\":\"1\",\"us\":1769825404123456789,\"id\":9007199254740993}" },
		{ "{\"version\":\"1\",\"a\":0.1000, \"b\":-0, \"c\":1e308, \"d\":1E-308, \"e\":[1e+007]}",
			"{\"version\":\"1\",\"a\":0.1000,\"b\":-0,\"c\":1e308,\"d\":1E-308,\"e\":[1e+007]}" },
		{ "{\"version\":\"1\",\"a\":\" \\\" , \\\\\" , \"b 1e999\": \"\\\\\\\" 1e999 \"}",
			"{\"version\":\"1\",\"a\":\" \\\" , \\\\\",\"b 1e999\":\"\\\\\\\" 1e999 \"}" },
		{ "{\"version\":\"1\",\"a\":\"\\ud83d\\udd25\", \"b\":\"\xf0\x9f\x94\xa5\"}",
			"{\"version\":\"1\",\"a\":\"\\ud83d\\udd25\",\"b\":\"\xf0\x9f\x94\xa5\"}" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct status_report report = parse_good(cases[i].text);

		assert_string_equal(report.json, cases[i].json);
		status_report_free(&report);
	}
}

static void test_the_deepest_report(void **state)
{
	struct status_report report = parse_good("{\"version\":\"1\",\"a\":[[[[[[[1]]]]]]]}");

	(void)state;
	status_report_free(&report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_report_of_the_contract),
		cmocka_unit_test(test_every_member),
		cmocka_unit_test(test_null_is_absent),
		cmocka_unit_test(test_every_status_in_any_letter_case),
		cmocka_unit_test(test_texts_are_cut_at_a_character),
		cmocka_unit_test(test_numbers_as_text),
		cmocka_unit_test(test_a_long_wait_is_clamped),
		cmocka_unit_test(test_bad_reports_are_refused_with_the_reason),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_the_words_of_the_device_are_kept),
		cmocka_unit_test(test_the_deepest_report),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
