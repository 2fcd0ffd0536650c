/* The options of block mode. */
#include "options_fixture.h"

static void test_topics_of_blocks(void **state)
{
	static const struct {
		const char *topic;
		const char *reason; /* NULL: accepted */
	} cases[] = {
		{ "d/{device}/b", NULL },
		{ "{device}", NULL },
		{ "devices/{device}/ota/status", "could be a status topic" },
		{ "{device}/x/y/status", NULL },
		{ "devices/{device}/ota/available", "could be a topic of blocks" },
		{ "fleet/{device}/ota/available", "could be a topic of blocks" },
	};
	char longest[TOPIC_MAX];
	struct options options = parse_good("block_bytes_per_second", "2M");
	struct ota_why why = { { 0 } };

	(void)state;
	assert_int_equal(options.block_bytes_per_second, 2097152);
	options_free(&options);
	options = parse_good("block_bytes_per_second", "0");
	assert_int_equal(options.block_bytes_per_second, 0);
	options_free(&options);
	for (size_t i = 0; i < COUNT(cases); i++) {
		enum ota_err err = parse(
			"firmware_directory", "/srv/firmware", "block_topic", cases[i].topic, &options, &why);

		if ((err == OTA_OK) != (cases[i].reason == NULL)) {
			fail_msg("'%s': %s", cases[i].topic, why.text);
		}
		if (err == OTA_OK) {
			options_free(&options);
		} else {
			assert_non_null(strstr(why.text, cases[i].reason));
		}
	}
	/* "/get" has to fit as well. */
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "{device}/", 9);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(parse("block_topic", longest, NULL, NULL, &options, &why), OTA_ERR_INVALID);
	assert_non_null(strstr(why.text, "is too long, accepted are at most 507 bytes"));
	longest[TOPIC_MAX - 1 - strlen("/get")] = '\0';
	assert_int_equal(parse("block_topic", longest, NULL, NULL, &options, &why), OTA_OK);
	options_free(&options);
	/* Without images nothing is taken from anybody. */
	options = parse_good("block_topic", "devices/{device}/ota/status");
	options_free(&options);
}

static void test_bad_values(void **state)
{
	static const struct {
		const char *key;
		const char *value;
		const char *reason;
	} cases[] = {
		{ "firmware_directory", "images", "is 'images', accepted is an absolute path" },
		{ "block_topic", "blocks", "plugin_opt_block_topic: topic 'blocks' has no" },
		{ "block_bytes_per_second", "16383",
			"accepted is 0 (no limit) or a number of bytes from 16384 on" },
		{ "block_bytes_per_second", "-1", "is '-1'" },
		{ "block_bytes_per_second", "1T", "is '1T'" },
		{ "block_max_bytes", "255", "accepted is an integer from 256 to 262144" },
		{ "block_max_bytes", "262145", "is '262145'" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct options options;
		struct ota_why why = { { 0 } };

		assert_int_equal(
			parse(cases[i].key, cases[i].value, NULL, NULL, &options, &why), OTA_ERR_INVALID);
		if (strstr(why.text, cases[i].reason) == NULL) {
			fail_msg("'%s': %s", cases[i].value, why.text);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_topics_of_blocks),
		cmocka_unit_test(test_bad_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
