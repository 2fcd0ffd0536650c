/* Topic templates, matching, ids and UTF-8, as tables of cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/topic.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct topic_template parse(const char *text)
{
	struct topic_template topic;
	struct ota_why why = { { 0 } };

	if (topic_template_parse(text, TOPIC_TAKES_EITHER, &topic, &why) != OTA_OK) {
		fail_msg("%s", why.text);
	}
	return topic;
}

static void test_templates_are_split(void **state)
{
	static const struct {
		const char *text;
		enum topic_placeholder placeholder;
		const char *prefix;
		const char *suffix;
	} cases[] = {
		{ "devices/{device}/ota/status", TOPIC_DEVICE, "devices/", "/ota/status" },
		{ "fleet/{fleet}/ota/available", TOPIC_FLEET, "fleet/", "/ota/available" },
		{ "{device}", TOPIC_DEVICE, "", "" },
		{ "{fleet}/x", TOPIC_FLEET, "", "/x" },
		{ "x/{fleet}", TOPIC_FLEET, "x/", "" },
		{ "/{device}/", TOPIC_DEVICE, "/", "/" },
		{ "g\xc3\xa9r\xc3\xa4te/{device}", TOPIC_DEVICE, "g\xc3\xa9r\xc3\xa4te/", "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct topic_template topic = parse(cases[i].text);

		assert_int_equal(topic.placeholder, cases[i].placeholder);
		assert_string_equal(topic.prefix, cases[i].prefix);
		assert_string_equal(topic.suffix, cases[i].suffix);
		assert_int_equal(topic.prefix_len, strlen(cases[i].prefix));
		assert_int_equal(topic.suffix_len, strlen(cases[i].suffix));
	}
}

static void test_bad_templates_are_refused_with_the_reason(void **state)
{
	static const struct {
		const char *text;
		const char *reason;
	} cases[] = {
		{ "", "is empty" },
		{ "devices/status", "has no placeholder" },
		{ "{device}/{fleet}", "more than one placeholder" },
		{ "{device}/{device}", "more than one placeholder" },
		{ "{device}/}", "more than one placeholder" },
		{ "a{device}/b", "part of a level" },
		{ "a/{device}b", "part of a level" },
		{ "a/{device}{fleet}", "part of a level" },
		{ "a/{gateway}/b", "unknown placeholder" },
		{ "a/{Device}/b", "unknown placeholder" },
		{ "a/{}/b", "unknown placeholder" },
		{ "a/{device", "unknown placeholder" },
		{ "a/device}", "unknown placeholder" },
		{ "+/{device}", "wildcard" },
		{ "{device}/#", "wildcard" },
		{ "$SYS/{device}", "begins with '$'" },
		{ "a/\x01/{device}", "control characters" },
		{ "a/\x7f/{device}", "control characters" },
		{ "a/\xc2\x85/{device}", "control characters" },
		{ "a/\xef\xbf\xbf/{device}", "non-characters" },
		{ "a/\xff/{device}", "not valid UTF-8" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct topic_template topic;
		struct ota_why why = { { 0 } };

		memset(&topic, 0x55, sizeof(topic));
		assert_int_equal(
			topic_template_parse(cases[i].text, TOPIC_TAKES_EITHER, &topic, &why), OTA_ERR_INVALID);
		if (!strstr(why.text, cases[i].reason)) {
			fail_msg("'%s': '%s' does not say '%s'", cases[i].text, why.text, cases[i].reason);
		}
		assert_int_equal(topic.prefix[0], 0x55); /* nothing was set */
		assert_int_equal(
			topic_template_parse(cases[i].text, TOPIC_TAKES_EITHER, &topic, NULL), OTA_ERR_INVALID);
	}
}

static void test_the_longest_template(void **state)
{
	char text[TOPIC_MAX + 1];
	struct topic_template topic;
	struct ota_why why = { { 0 } };

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "{device}/", 9);
	text[TOPIC_MAX] = '\0';
	assert_int_equal(topic_template_parse(text, TOPIC_TAKES_EITHER, &topic, &why), OTA_ERR_INVALID);
	assert_non_null(strstr(why.text, "at most 511 bytes"));
	text[TOPIC_MAX - 1] = '\0';
	assert_int_equal(topic_template_parse(text, TOPIC_TAKES_EITHER, &topic, &why), OTA_OK);
	assert_int_equal(topic.suffix_len, TOPIC_MAX - 1 - 8);
}

/* value: NULL when topic_match() says no.  shape: what topic_match_shape() says. */
static const struct match_case {
	const char *pattern;
	const char *topic;
	const char *value;
	bool shape;
} match_cases[] = {
	{ "devices/{device}/ota/status", "devices/a/ota/status", "a", true },
	{ "devices/{device}/ota/status", "devices/sensor-17/ota/status", "sensor-17", true },
	{ "devices/{device}/ota/status", "devices/\xe2\x82\xac/ota/status", "\xe2\x82\xac", true },
	{ "devices/{device}/ota/status", "devices/a b/ota/status", "a b", true },
	{ "devices/{device}/ota/status", "devices/x$/ota/status", "x$", true },
	{ "devices/{device}/ota/status", "devices//ota/status", NULL, true },
	{ "devices/{device}/ota/status", "devices/+/ota/status", NULL, true },
	{ "devices/{device}/ota/status", "devices/#/ota/status", NULL, true },
	{ "devices/{device}/ota/status", "devices/a+/ota/status", NULL, true },
	{ "devices/{device}/ota/status", "devices/$a/ota/status", NULL, true },
	{ "devices/{device}/ota/status", "devices/\xff/ota/status", NULL, true },
	{ "devices/{device}/ota/status", "devices/a\nb/ota/status", NULL, true },
	{ "devices/{device}/ota/status", "devices/a/b/ota/status", NULL, false },
	{ "devices/{device}/ota/status", "devices/a/ota/statu", NULL, false },
	{ "devices/{device}/ota/status", "devices/a/ota/statuss", NULL, false },
	{ "devices/{device}/ota/status", "devices/a/ota/status/", NULL, false },
	{ "devices/{device}/ota/status", "devices/a/OTA/status", NULL, false },
	{ "devices/{device}/ota/status", "devices/a", NULL, false },
	{ "devices/{device}/ota/status", "devices/", NULL, false },
	{ "devices/{device}/ota/status", "devices", NULL, false },
	{ "devices/{device}/ota/status", "d", NULL, false },
	{ "devices/{device}/ota/status", "", NULL, false },
	{ "devices/{device}/ota/status", "Devices/a/ota/status", NULL, false },
	{ "devices/{device}/ota/status", "/devices/a/ota/status", NULL, false },
	{ "devices/{device}/ota/status", "devices/#", NULL, false },
	{ "devices/{device}/ota/status", "#", NULL, false },
	{ "devices/{device}/ota/status", "+/a/ota/status", NULL, false },
	{ "devices/{device}/ota/status", "devices/+/+/status", NULL, false },
	{ "devices/{device}/ota/status", "devices/+/ota/#", NULL, false },
	{ "devices/{device}/ota/status", "$share/g/devices/a/ota/status", NULL, false },
	{ "{device}/ota", "a/ota", "a", true },
	{ "{device}/ota", "/ota", NULL, true },
	{ "{device}/ota", "+/ota", NULL, true },
	{ "{device}/ota", "$SYS/ota", NULL, false },
	{ "{device}/ota", "a/b/ota", NULL, false },
	{ "{device}/ota", "", NULL, false },
	{ "x/{device}", "x/a", "a", true },
	{ "x/{device}", "x/", NULL, true },
	{ "x/{device}", "x/a/", NULL, false },
	{ "{fleet}", "a", "a", true },
	{ "{fleet}", "", NULL, true },
	{ "{fleet}", "a/b", NULL, false },
};

static void test_matching(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(match_cases); i++) {
		const struct match_case *c = &match_cases[i];
		struct topic_template pattern = parse(c->pattern);
		struct topic_value value = { "untouched", 9 };
		struct topic_value shape = { "untouched", 9 };
		/* An exact copy: reading behind the end of a topic shows under the sanitizer. */
		char *topic = strdup(c->topic);

		assert_non_null(topic);
		if (topic_match(&pattern, topic, &value) != (c->value != NULL)
			|| topic_match_shape(&pattern, topic, &shape) != c->shape) {
			fail_msg("'%s' on '%s'", c->pattern, c->topic);
		}
		if (c->shape) {
			assert_int_equal(shape.length, strlen(topic) - pattern.prefix_len - pattern.suffix_len);
			assert_ptr_equal(shape.text, topic + pattern.prefix_len);
			assert_true(topic_id_valid(shape.text, shape.length) == (c->value != NULL));
		} else {
			assert_string_equal(shape.text, "untouched");
		}
		if (c->value) {
			assert_int_equal(value.length, strlen(c->value));
			assert_memory_equal(value.text, c->value, value.length);
			assert_ptr_equal(value.text, topic + pattern.prefix_len);
		} else {
			assert_string_equal(value.text, "untouched");
		}
		free(topic);
	}
}

static void test_rendering_is_the_reverse_of_matching(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(match_cases); i++) {
		const struct match_case *c = &match_cases[i];
		struct topic_template pattern = parse(c->pattern);
		char out[TOPIC_MAX + TOPIC_ID_MAX];
		size_t size = strlen(c->topic) + 1;

		if (!c->value) {
			continue;
		}
		assert_int_equal(topic_render(&pattern, c->value, out, size), OTA_OK);
		assert_string_equal(out, c->topic);
		assert_int_equal(topic_render(&pattern, c->value, out, size - 1), OTA_ERR_INVALID);
		assert_int_equal(topic_render(&pattern, c->value, out, 0), OTA_ERR_INVALID);
	}
}

static void test_rendering_refuses_bad_ids(void **state)
{
	static const char *const ids[] = { "", "a/b", "+", "#", "$a", "a\x01", "\xff" };
	struct topic_template pattern = parse("devices/{device}/ota/available");
	char longest[TOPIC_ID_MAX + 2];
	char out[TOPIC_MAX + TOPIC_ID_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(ids); i++) {
		assert_int_equal(topic_render(&pattern, ids[i], out, sizeof(out)), OTA_ERR_INVALID);
	}
	memset(longest, 'a', sizeof(longest));
	longest[TOPIC_ID_MAX + 1] = '\0';
	assert_int_equal(topic_render(&pattern, longest, out, sizeof(out)), OTA_ERR_INVALID);
	longest[TOPIC_ID_MAX] = '\0';
	assert_int_equal(topic_render(&pattern, longest, out, sizeof(out)), OTA_OK);
}

static void test_ids(void **state)
{
	static const struct {
		const char *text;
		bool valid;
	} cases[] = {
		{ "a", true },
		{ "sensor-17.north_wing:2", true },
		{ "{device}", true },
		{ " ", true },
		{ "a$", true },
		{ "a~", true },
		{ "\xc2\xa0", true },         /* U+00A0, the first after the C1 controls */
		{ "\xf0\x9f\x94\xa5", true }, /* U+1F525 */
		{ "\xef\xb7\x8f", true },     /* U+FDCF */
		{ "\xef\xb7\xb0", true },     /* U+FDF0 */
		{ "\xef\xbf\xbd", true },     /* U+FFFD */
		{ "", false },
		{ "$", false },
		{ "$a", false },
		{ "a/b", false },
		{ "a+b", false },
		{ "a#b", false },
		{ "a\tb", false },
		{ "\x1f", false },
		{ "\x7f", false },
		{ "\xc2\x80", false },         /* U+0080 */
		{ "\xc2\x9f", false },         /* U+009F */
		{ "\xef\xb7\x90", false },     /* U+FDD0 */
		{ "\xef\xb7\xaf", false },     /* U+FDEF */
		{ "\xef\xbf\xbe", false },     /* U+FFFE */
		{ "\xef\xbf\xbf", false },     /* U+FFFF */
		{ "\xf0\x9f\xbf\xbe", false }, /* U+1FFFE */
		{ "\xf4\x8f\xbf\xbf", false }, /* U+10FFFF */
		{ "abc\xc3", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t length = strlen(cases[i].text);
		char text[64];

		if (topic_id_valid(cases[i].text, length) != cases[i].valid) {
			fail_msg("case %zu: '%s'", i, cases[i].text);
		}
		/* The same inside a longer id, which is read in words of eight bytes; there a '$' is like any other, and nothing is. */
		for (size_t before = 1; before < 20; before++) {
			const bool valid = cases[i].valid || length == 0 || cases[i].text[0] == '$';

			memset(text, 'a', sizeof(text));
			memcpy(text + before, cases[i].text, length);
			assert_true(topic_id_valid(text, before + length + 11) == valid);
			assert_true(topic_id_valid(text, before + length) == valid);
		}
	}
	assert_false(topic_id_valid("a\0b", 3));
	/* The length counts, not the terminator: here it cuts a character. */
	assert_true(topic_id_valid("a\xc3\xa9", 3));
	assert_false(topic_id_valid("a\xc3\xa9", 2));
}

/* Each byte at each place of an id, among bytes that are at the borders of what an id may have. */
static void test_ids_byte_by_byte(void **state)
{
	static const char around[] = { 'a', ' ', '~', '.', '0', '*', ',', '"', '$', '\'' };
	char text[24];

	(void)state;
	for (size_t i = 0; i < COUNT(around); i++) {
		for (size_t length = 1; length <= sizeof(text); length++) {
			for (size_t at = 0; at < length; at++) {
				memset(text, around[i], sizeof(text));
				text[0] = 'a';
				for (int byte = 0; byte < 256; byte++) {
					const bool valid = byte >= ' ' && byte < 0x7f && byte != '/' && byte != '+'
						&& byte != '#' && !(byte == '$' && at == 0);

					text[at] = (char)byte;
					if (topic_id_valid(text, length) != valid) {
						fail_msg("byte %d at %zu of %zu", byte, at, length);
					}
				}
			}
		}
	}
}

static void test_utf8(void **state)
{
	static const struct {
		const char *text;
		bool valid;
	} cases[] = {
		{ "", true },
		{ "plain", true },
		{ "\x7f", true },
		{ "\xc2\x80", true },
		{ "\xdf\xbf", true },
		{ "\xe0\xa0\x80", true },
		{ "\xed\x9f\xbf", true },     /* U+D7FF */
		{ "\xee\x80\x80", true },     /* U+E000 */
		{ "\xef\xbf\xbf", true },     /* U+FFFF is well-formed */
		{ "\xf0\x90\x80\x80", true }, /* U+10000 */
		{ "\xf4\x8f\xbf\xbf", true }, /* U+10FFFF */
		{ "\x80", false },
		{ "\xbf", false },
		{ "\xc0\x80", false }, /* overlong */
		{ "\xc1\xbf", false },
		{ "\xe0\x9f\xbf", false },
		{ "\xf0\x8f\xbf\xbf", false },
		{ "\xed\xa0\x80", false }, /* surrogates */
		{ "\xed\xbf\xbf", false },
		{ "\xf4\x90\x80\x80", false }, /* U+110000 */
		{ "\xf5\x80\x80\x80", false },
		{ "\xf8\x88\x80\x80\x80", false },
		{ "\xfe", false },
		{ "\xff", false },
		{ "\xc2", false }, /* cut */
		{ "\xe2\x82", false },
		{ "\xf0\x9f\x94", false },
		{ "\xc2\x41", false },
		{ "\xe2\x82\x41", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t length = strlen(cases[i].text);
		char text[64];

		if (topic_utf8_valid(cases[i].text, length) != cases[i].valid) {
			fail_msg("case %zu", i);
		}
		/* The same at every place of a longer text: it is read in words of eight bytes. */
		for (size_t before = 0; before < 20; before++) {
			memset(text, 'a', sizeof(text));
			memcpy(text + before, cases[i].text, length);
			assert_true(topic_utf8_valid(text, before + length + 11) == cases[i].valid);
			assert_true(topic_utf8_valid(text, before + length) == cases[i].valid);
		}
	}
}

static void test_utf8_zero_bytes(void **state)
{
	char text[24];

	(void)state;
	for (size_t at = 0; at < sizeof(text); at++) {
		memset(text, 'a', sizeof(text));
		text[at] = '\0';
		assert_false(topic_utf8_valid(text, sizeof(text)));
		assert_true(topic_utf8_valid(text, at));
		text[at] = '\x01';
		assert_true(topic_utf8_valid(text, sizeof(text)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_templates_are_split),
		cmocka_unit_test(test_bad_templates_are_refused_with_the_reason),
		cmocka_unit_test(test_the_longest_template),
		cmocka_unit_test(test_matching),
		cmocka_unit_test(test_rendering_is_the_reverse_of_matching),
		cmocka_unit_test(test_rendering_refuses_bad_ids),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_ids_byte_by_byte),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_utf8_zero_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
