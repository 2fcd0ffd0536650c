#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/json.h"

/* Whatever is read, without allocating it is read the same. */
static void same_in_a_room(const char *text, size_t length, enum ota_err wanted, const cJSON *tree,
	const struct ota_why *reason)
{
	struct json_room *room = malloc(sizeof(*room));
	struct ota_why why = { "" };
	cJSON *root = NULL;
	enum ota_err err;

	assert_non_null(room);
	memset(room, 0xa5, sizeof(*room));
	err = json_parse_object_in(room, text, length, 4, &root, &why);
	if (err != OTA_ERR_FULL) {
		assert_int_equal(err, wanted);
		assert_true(err != OTA_OK || cJSON_Compare(root, tree, true));
		assert_true(err == OTA_OK || !reason || strcmp(why.text, reason->text) == 0);
	}
	free(room);
}

static enum ota_err parse(const char *text, size_t length, cJSON **root, struct ota_why *why)
{
	/* On the heap without a terminator, so that a sanitizer sees every byte read too far. */
	char *copy = malloc(length > 0 ? length : 1);
	enum ota_err err = OTA_ERR_NOMEM;

	assert_non_null(copy);
	memcpy(copy, text, length);
	err = json_parse_object(copy, length, 4, root, why);
	same_in_a_room(copy, length, err, *root, why);
	free(copy);
	return err;
}

static void good_objects(void **state)
{
	static const char *const cases[] = { "{}", " \t\r\n{ } \n", "{\"a\":1}",
		"{\"a\":{\"b\":{\"c\":{}}}}", "{\"a\":[[[]]]}", "{\"a\":[1,2,3],\"A\":null,\"\":true}",
		"{\"a\":-0.5e-3,\"b\":1E+2,\"c\":0}",
		"{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00\"}",
		"{\"\xc3\xbc\":\"\xf0\x9f\x98\x80\"}", "{\"a\":1e-400}", "{\"a\":\"\x7f\"}" };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cJSON *root = NULL;
		struct ota_why why = { "" };

		if (parse(cases[i], strlen(cases[i]), &root, &why) != OTA_OK) {
			fail_msg("%s: %s", cases[i], why.text);
		}
		assert_true(cJSON_IsObject(root));
		cJSON_Delete(root);
	}
}

static void bad_objects(void **state)
{
	static const struct {
		const char *text;
		const char *reason;
	} cases[] = {
		{ "", "empty" },
		{ " ", "no object" },
		{ "[]", "no object" },
		{ "\"a\"", "no object" },
		{ "\xef\xbb\xbf{}", "no object" },
		{ "{", "member without a name" },
		{ "{}{}", "after the object" },
		{ "{} x", "after the object" },
		{ "{\"a\":1,}", "member without a name" },
		{ "{,}", "member without a name" },
		{ "{\"a\":[1,]}", "no value" },
		{ "{\"a\":[1 2]}", "no comma" },
		{ "{\"a\":[1", "no comma" },
		{ "{\"a\":[", "no value" },
		{ "{\"a\" 1}", "colon" },
		{ "{\"a\":}", "no value" },
		{ "{\"a\"", "colon" },
		{ "{a:1}", "without a name" },
		{ "{'a':1}", "without a name" },
		{ "{\"a\":1 \"b\":2}", "no comma" },
		{ "{\"a\":1}//c", "after the object" },
		{ "{/*c*/}", "without a name" },
		{ "{\"a\":01}", "leading zero" },
		{ "{\"a\":-01}", "leading zero" },
		{ "{\"a\":+1}", "no value" },
		{ "{\"a\":.5}", "no value" },
		{ "{\"a\":1.}", "after the point" },
		{ "{\"a\":-}", "without digits" },
		{ "{\"a\":1e}", "exponent" },
		{ "{\"a\":1e+}", "exponent" },
		{ "{\"a\":0x10}", "no comma" },
		{ "{\"a\":1e400}", "out of range" },
		{ "{\"a\":-1e400}", "out of range" },
		{ "{\"a\":NaN}", "no value" },
		{ "{\"a\":Infinity}", "no value" },
		{ "{\"a\":True}", "no value" },
		{ "{\"a\":tru}", "no value" },
		{ "{\"a\":nulll}", "no comma" },
		{ "{\"a\":\"b}", "without an end" },
		{ "{\"a\":\"b\\", "unknown escape" },
		{ "{\"a\":\"\\x\"}", "unknown escape" },
		{ "{\"a\":\"\n\"}", "control character" },
		{ "{\"a\":\"\x1f\"}", "control character" },
		{ "{\"a\":\"\\u0000\"}", "U+0000" },
		{ "{\"\\u0000\":1}", "U+0000" },
		{ "{\"a\":\"\\u12\"}", "hex digits" },
		{ "{\"a\":\"\\ud800\"}", "high surrogate" },
		{ "{\"a\":\"\\ud800\\n\"}", "high surrogate" },
		{ "{\"a\":\"\\ud800\\u0041\"}", "high surrogate" },
		{ "{\"a\":\"\\udc00\"}", "low surrogate" },
		{ "{\"a\":\"\xff\"}", "UTF-8" },
		{ "{\"a\":\"\xc0\x80\"}", "UTF-8" },
		{ "{\"a\":\"\xed\xa0\x80\"}", "UTF-8" },
		{ "{\"a\":1,\"a\":2}", "more than once" },
		{ "{\"a\":1,\"\\u0061\":2}", "more than once" },
		{ "{\"x\":{\"b\":1,\"c\":1,\"b\":1}}", "more than once" },
		{ "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"a\":1}",
			"member \"a\" more than once" },
		{ "{\"a\":[[[[]]]]}", "deeper than 4" },
		{ "{\"a\":{\"b\":{\"c\":{\"d\":{}}}}}", "deeper than 4" },
		{ "{\"a\":1111111111222222222233333333334444444444555555555566666666667777}",
			"more than 63" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cJSON *root = NULL;
		struct ota_why why = { "" };

		if (parse(cases[i].text, strlen(cases[i].text), &root, &why) != OTA_ERR_INVALID
			|| !strstr(why.text, cases[i].reason)) {
			fail_msg("%s: \"%s\", expected \"%s\"", cases[i].text, why.text, cases[i].reason);
		}
		assert_null(root);
	}
}

static void zero_bytes_and_bad_limits_are_refused(void **state)
{
	cJSON *root = NULL;

	(void)state;
	assert_int_equal(parse("{\"a\":\"x\0y\"}", 11, &root, NULL), OTA_ERR_INVALID);
	assert_int_equal(parse("{}\0", 3, &root, NULL), OTA_ERR_INVALID);
	assert_int_equal(json_parse_object("{}", 2, 0, &root, NULL), OTA_ERR_INVALID);
	assert_int_equal(json_parse_object("{}", 2, 65, &root, NULL), OTA_ERR_INVALID);
	assert_int_equal(json_parse_object(NULL, 2, 1, &root, NULL), OTA_ERR_INVALID);
	assert_int_equal(json_parse_object("{}", 2, 1, &root, NULL), OTA_OK);
	cJSON_Delete(root);
}

/* {"a":[0,0,...]}: the object, the list and `zeros` values. */
static enum ota_err parse_zeros(size_t zeros)
{
	size_t length = 0;
	char *text = NULL;
	FILE *stream = open_memstream(&text, &length);
	cJSON *root = NULL;
	enum ota_err err = OTA_ERR_NOMEM;

	assert_non_null(stream);
	(void)fprintf(stream, "{\"a\":[0");
	for (size_t i = 1; i < zeros; i++) {
		(void)fprintf(stream, ",0");
	}
	(void)fprintf(stream, "]}");
	(void)fclose(stream);
	err = parse(text, length, &root, NULL);
	cJSON_Delete(root);
	free(text);
	return err;
}

static void number_of_values_is_bounded(void **state)
{
	(void)state;
	assert_int_equal(parse_zeros(JSON_VALUES_MAX - 2), OTA_OK);
	assert_int_equal(parse_zeros(JSON_VALUES_MAX - 1), OTA_ERR_INVALID);
}

/* How many values, and how long a string, a room has place for; {"a":[...]} is two of the values. */
static void a_room_has_bounds(void **state)
{
	static struct json_room room;
	char text[2 * JSON_ROOM_BYTES];
	cJSON *root = NULL;
	size_t n;

	(void)state;
	for (size_t zeros = JSON_ROOM_ITEMS - 2; zeros <= JSON_ROOM_ITEMS - 1; zeros++) {
		n = (size_t)snprintf(text, sizeof(text), "{\"a\":[0");
		for (size_t i = 1; i < zeros; i++) {
			n += (size_t)snprintf(text + n, sizeof(text) - n, ",0");
		}
		n += (size_t)snprintf(text + n, sizeof(text) - n, "]}");
		assert_int_equal(json_parse_object_in(&room, text, n, 4, &root, NULL),
			zeros == JSON_ROOM_ITEMS - 2 ? OTA_OK : OTA_ERR_FULL);
	}
	/* "a" and its zero are two bytes, the zero of the text one. */
	for (int length = JSON_ROOM_BYTES - 3; length <= JSON_ROOM_BYTES - 2; length++) {
		n = (size_t)snprintf(text, sizeof(text), "{\"a\":\"%0*d\"}", length, 0);
		assert_int_equal(json_parse_object_in(&room, text, n, 4, &root, NULL),
			length == JSON_ROOM_BYTES - 3 ? OTA_OK : OTA_ERR_FULL);
	}
	assert_int_equal(json_parse_object_in(&room, "{\"a\":1}", 7, 4, &root, NULL), OTA_OK);
	assert_true(cJSON_IsNumber(json_member(root, "a")));
}

static void what_is_plain(void **state)
{
	static const struct {
		const char *text;
		bool plain;
	} cases[] = { { "{}", true }, { "{\"e\":[true,-1.5,\"1e5 \\\"\"]}", true }, { "{} ", false },
		{ " {}", false }, { "{\"a\": 1}", false }, { "{\"a\":1\t}", false },
		{ "{\"a\":1e5}", false }, { "{\"a\":[1E-5]}", false } };
	static struct json_room room;
	cJSON *root = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(
			json_parse_object_in(&room, cases[i].text, strlen(cases[i].text), 4, &root, NULL),
			OTA_OK);
		if (room.plain != cases[i].plain) {
			fail_msg("%s", cases[i].text);
		}
	}
}

static void strings_are_decoded(void **state)
{
	static const char text[] = "{\"a\":\"\\u0041\\u00e9\\u20AC\\uD83D\\uDE00\\n\\/\"}";
	const char *value = NULL;
	cJSON *root = NULL;

	(void)state;
	assert_int_equal(parse(text, strlen(text), &root, NULL), OTA_OK);
	assert_int_equal(json_text(root, "a", 100, &value, NULL), OTA_OK);
	assert_string_equal(value, "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n/");
	cJSON_Delete(root);
}

static void integers_are_exact_or_refused(void **state)
{
	static const struct {
		const char *number;
		enum ota_err err;
		int64_t value;
	} cases[] = {
		{ "0", OTA_OK, 0 },
		{ "-0", OTA_OK, 0 },
		{ "17", OTA_OK, 17 },
		{ "1.0", OTA_OK, 1 },
		{ "1e3", OTA_OK, 1000 },
		{ "1.25e2", OTA_OK, 125 },
		{ "1200e-2", OTA_OK, 12 },
		{ "0.0e99", OTA_OK, 0 },
		{ "9007199254740991", OTA_OK, INT64_C(9007199254740991) },
		{ "-9007199254740991", OTA_OK, -INT64_C(9007199254740991) },
		{ "9007199254740992", OTA_ERR_INVALID, 0 },
		{ "9007199254740993", OTA_ERR_INVALID, 0 },
		{ "9007199254740990.6", OTA_ERR_INVALID, 0 },
		{ "1.5", OTA_ERR_INVALID, 0 },
		{ "1.25e1", OTA_ERR_INVALID, 0 },
		{ "1.00000000000000000001", OTA_ERR_INVALID, 0 },
		{ "1e-99999999999999999999", OTA_ERR_INVALID, 0 },
		{ "1e300", OTA_ERR_INVALID, 0 },
		{ "\"1\"", OTA_ERR_INVALID, 0 },
		{ "true", OTA_ERR_INVALID, 0 },
		{ "null", OTA_ERR_INVALID, 0 },
		{ "[1]", OTA_ERR_INVALID, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[128];
		int64_t value = 42;
		cJSON *root = NULL;
		struct ota_why why = { "" };

		(void)snprintf(text, sizeof(text), "{\"n\":%s}", cases[i].number);
		assert_int_equal(parse(text, strlen(text), &root, NULL), OTA_OK);
		if (json_integer(root, "n", -JSON_INTEGER_MAX, JSON_INTEGER_MAX, &value, &why)
				!= cases[i].err
			|| value != (cases[i].err ? 42 : cases[i].value)) {
			fail_msg("%s gave %lld %s", cases[i].number, (long long)value, why.text);
		}
		cJSON_Delete(root);
	}
}

static void getters_name_member_value_and_what_is_accepted(void **state)
{
	static const char text[] = "{\"n\":17,\"t\":\"a\\nb\",\"T\":\"other\",\"l\":[],\"z\":null}";
	struct ota_why why = { "" };
	const char *value = NULL;
	int64_t number = 0;
	cJSON *root = NULL;

	(void)state;
	assert_int_equal(parse(text, strlen(text), &root, NULL), OTA_OK);
	assert_int_equal(json_integer(root, "n", 0, 16, &number, &why), OTA_ERR_INVALID);
	assert_string_equal(why.text, "member \"n\" is 17; accepted is an integer from 0 to 16");
	assert_int_equal(json_integer(root, "n", 18, 20, &number, &why), OTA_ERR_INVALID);
	assert_int_equal(json_integer(root, "n", 17, 17, &number, &why), OTA_OK);
	assert_int_equal(json_integer(root, "N", 17, 17, &number, &why), OTA_ERR_NOT_FOUND);
	assert_string_equal(why.text, "member \"N\" is missing");
	assert_int_equal(json_text(root, "t", 2, &value, &why), OTA_ERR_INVALID);
	assert_string_equal(why.text, "member \"t\" is \"a?b\" with 3 bytes; accepted are up to 2");
	assert_int_equal(json_text(root, "t", 3, &value, &why), OTA_OK);
	assert_string_equal(value, "a\nb");
	assert_int_equal(json_text(root, "l", 3, &value, &why), OTA_ERR_INVALID);
	assert_string_equal(why.text, "member \"l\" is a list; accepted is text");
	assert_int_equal(json_text(root, "z", 3, &value, &why), OTA_ERR_INVALID);
	assert_int_equal(json_text(root, "absent", 3, &value, &why), OTA_ERR_NOT_FOUND);
	cJSON_Delete(root);
}

static void descriptions_are_one_safe_line(void **state)
{
	char shown[JSON_DESCRIBE_SIZE];
	char text[1024];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_string_equal(json_describe_text(NULL, shown), "nothing");
	assert_string_equal(json_describe_text("a\x1b[2J\xc3\xbc", shown), "\"a?[2J??\"");
	assert_int_equal(strlen(json_describe_text(text, shown)), JSON_DESCRIBE_SIZE - 1);
	assert_non_null(strstr(shown, "xxx...\""));
}

static void escaping_is_undone_by_reading(void **state)
{
	char plain[] = "\x01\x02\x08\t\n\x0b\x0c\r\x1f \"\\/'<>\x7f\xc3\xbc\xf0\x9f\x98\x80";
	char text[256] = "{\"a\":\"";
	char *end = NULL;
	const char *value = NULL;
	cJSON *root = NULL;

	(void)state;
	end = json_escape(plain, text + 6);
	assert_int_equal(end - (text + 6), json_escaped_length(plain));
	memcpy(end, "\"}", 3);
	assert_int_equal(parse(text, strlen(text), &root, NULL), OTA_OK);
	assert_int_equal(json_text(root, "a", 100, &value, NULL), OTA_OK);
	assert_string_equal(value, plain);
	cJSON_Delete(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_objects),
		cmocka_unit_test(bad_objects),
		cmocka_unit_test(zero_bytes_and_bad_limits_are_refused),
		cmocka_unit_test(number_of_values_is_bounded),
		cmocka_unit_test(a_room_has_bounds),
		cmocka_unit_test(what_is_plain),
		cmocka_unit_test(strings_are_decoded),
		cmocka_unit_test(integers_are_exact_or_refused),
		cmocka_unit_test(getters_name_member_value_and_what_is_accepted),
		cmocka_unit_test(descriptions_are_one_safe_line),
		cmocka_unit_test(escaping_is_undone_by_reading),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
