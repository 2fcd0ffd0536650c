/* The options that are topics: what each takes in a placeholder's place, and how long it may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/options.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static enum ota_err parse(
	const char *key, const char *value, struct options *options, struct ota_why *why)
{
	const struct option_pair pairs[] = {
		{ "database", "postgresql:///ota" },
		{ "trusted_keys", "/etc/keys" },
		{ key, value },
	};

	return options_parse(pairs, COUNT(pairs), false, options, why);
}

/* Each says what it takes itself, and not what some other topic may have. */
static void test_a_topic_names_the_placeholders_that_it_takes(void **state)
{
	static const struct {
		const char *key;
		const char *value;
		const char *said;
	} cases[] = {
		{ "status_topic", "s", "topic 's' has no placeholder, needed is a level {device}" },
		{ "status_topic", "", "topic '' is empty, needed is a level {device}" },
		{ "status_topic", "s/{id}",
			"topic 's/{id}' has an unknown placeholder, accepted is {device}" },
		{ "status_topic", "s/+",
			"topic 's/+' has a wildcard ('+' or '#'), accepted is one level {device} instead" },
		{ "status_topic", "{fleet}/{device}",
			"topic '{fleet}/{device}' has more than one placeholder, accepted is one level {device}" },
		{ "status_topic", "fleet/{fleet}/s",
			"topic 'fleet/{fleet}/s' has the placeholder {fleet}, accepted is {device}" },
		{ "block_topic", "b/{fleet}",
			"topic 'b/{fleet}' has the placeholder {fleet}, accepted is {device}" },
		{ "block_topic", "b", "topic 'b' has no placeholder, needed is a level {device}" },
		{ "block_topic", "b/#",
			"topic 'b/#' has a wildcard ('+' or '#'), accepted is one level {device} instead" },
		{ "notify_topics", "n",
			"topic 'n' has no placeholder, needed is a level {device} or {fleet}" },
		{ "notify_topics", "n/{id}",
			"topic 'n/{id}' has an unknown placeholder, accepted is {device} or {fleet}" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct options options;
		struct ota_why why = { { 0 } };
		char said[200];

		(void)snprintf(said, sizeof(said), "plugin_opt_%s: %s", cases[i].key, cases[i].said);
		assert_int_equal(parse(cases[i].key, cases[i].value, &options, &why), OTA_ERR_INVALID);
		assert_string_equal(why.text, said);
	}
}

static void test_long_topics_are_refused_not_cut(void **state)
{
	char value[TOPIC_MAX + 64];
	struct options options;
	struct ota_why why = { { 0 } };

	(void)state;
	memset(value, 'a', sizeof(value));
	memcpy(value, "{fleet}/", 8);
	value[sizeof(value) - 1] = '\0';
	assert_int_equal(parse("notify_topics", value, &options, &why), OTA_ERR_INVALID);
	assert_non_null(strstr(why.text, "is too long, accepted are at most 511 bytes"));
	value[TOPIC_MAX - 1] = '\0';
	assert_int_equal(parse("notify_topics", value, &options, &why), OTA_OK);
	assert_int_equal(options.notify_topics[0].suffix_len, TOPIC_MAX - 1 - 7);
	options_free(&options);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_topic_names_the_placeholders_that_it_takes),
		cmocka_unit_test(test_long_topics_are_refused_not_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
