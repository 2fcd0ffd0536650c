/* The options of mosquitto.conf: defaults, every accepted and refused value, and what the refusal says. */
#include <stdlib.h>
#include <unistd.h>

#include "options_fixture.h"

static void test_defaults(void **state)
{
	struct options options = parse_good(NULL, NULL);
	char host[256] = "";

	(void)state;
	assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
	assert_string_equal(options.database, "postgresql:///ota");
	assert_string_equal(options.trusted_keys, "/etc/keys");
	assert_int_equal(options.signature_policy, SIGNATURE_POLICY_MANIFEST);
	assert_int_equal(options.signature_threshold, 1);
	assert_int_equal(options.device_identity, DEVICE_IDENTITY_CLIENTID);
	assert_int_equal(options.enroll, ENROLL_AUTO);
	assert_string_equal(options.state_directory, "/var/lib/mosquitto/ota");
	assert_string_equal(options.status_topic.prefix, "devices/");
	assert_string_equal(options.status_topic.suffix, "/ota/status");
	assert_int_equal(options.notify_topics_count, 2);
	assert_string_equal(options.notify_topics[0].prefix, "fleet/");
	assert_int_equal(options.notify_topics[0].placeholder, TOPIC_FLEET);
	assert_string_equal(options.notify_topics[1].prefix, "devices/");
	assert_int_equal(options.notify_topics[1].placeholder, TOPIC_DEVICE);
	assert_int_equal(options.control_users_count, 0);
	assert_null(options.control_users);
	assert_string_equal(options.broker_name, host);
	assert_int_equal(options.acl_other_topics, ACL_OTHER_UNSET);
	assert_int_equal(options.outbox_max_bytes, 1073741824);
	assert_int_equal(options.outbox_sync_ms, 1000);
	assert_int_equal(options.offline_serve_seconds, 600);
	assert_null(options.firmware_directory);
	assert_string_equal(options.block_topic.suffix, "/ota/block");
	assert_string_equal(options.block_get_topic.prefix, "devices/");
	assert_string_equal(options.block_get_topic.suffix, "/ota/block/get");
	assert_int_equal(options.block_bytes_per_second, 4194304);
	assert_int_equal(options.block_max_bytes, 16384);
	options_free(&options);
	assert_null(options.database);
	options_free(&options);
	options_free(NULL);
}

static void test_words(void **state)
{
	static const struct {
		const char *key;
		const char *value;
		size_t offset;
		int expected;
	} cases[] = {
		{ "signature_policy", "manifest", offsetof(struct options, signature_policy), 0 },
		{ "signature_policy", "artifact", offsetof(struct options, signature_policy), 1 },
		{ "signature_policy", "both", offsetof(struct options, signature_policy), 2 },
		{ "device_identity", "clientid", offsetof(struct options, device_identity), 0 },
		{ "device_identity", "username", offsetof(struct options, device_identity), 1 },
		{ "enroll", "auto", offsetof(struct options, enroll), 0 },
		{ "enroll", "known", offsetof(struct options, enroll), 1 },
		{ "acl_other_topics", "defer", offsetof(struct options, acl_other_topics), 1 },
		{ "acl_other_topics", "allow", offsetof(struct options, acl_other_topics), 2 },
		{ "acl_other_topics", "  allow\t# a comment", offsetof(struct options, acl_other_topics),
			2 },
		{ "signature_threshold", "1", offsetof(struct options, signature_threshold), 1 },
		{ "signature_threshold", "16", offsetof(struct options, signature_threshold), 16 },
		{ "outbox_sync_ms", "0", offsetof(struct options, outbox_sync_ms), 0 },
		{ "outbox_sync_ms", "60000 ", offsetof(struct options, outbox_sync_ms), 60000 },
		{ "offline_serve_seconds", "0", offsetof(struct options, offline_serve_seconds), 0 },
		{ "offline_serve_seconds", "86400", offsetof(struct options, offline_serve_seconds),
			86400 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct options options = parse_good(cases[i].key, cases[i].value);
		int32_t found;

		memcpy(&found, (const char *)&options + cases[i].offset, sizeof(found));
		assert_int_equal(found, cases[i].expected);
		options_free(&options);
	}
}

static void test_outbox_max_bytes(void **state)
{
	static const struct {
		const char *value;
		int64_t expected; /* 0: refused */
	} cases[] = {
		{ "1048576", 1048576 },
		{ "1048575", 0 },
		{ "1M", 1048576 },
		{ "1m", 1048576 },
		{ "1024k", 1048576 },
		{ "1023K", 0 },
		{ "2G", INT64_C(2147483648) },
		{ "9223372036854775807", INT64_MAX },
		{ "9223372036854775808", 0 },
		{ "8589934591G", INT64_C(8589934591) << 30 },
		{ "8589934592G", 0 },
		{ "99999999999999999999", 0 },
		{ "1MB", 0 },
		{ "1 M", 0 },
		{ "1T", 0 },
		{ "M", 0 },
		{ "-1", 0 },
		{ "+2000000", 0 },
		{ "2e9", 0 },
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct options options;
		struct ota_why why = { { 0 } };
		enum ota_err err = parse("outbox_max_bytes", cases[i].value, NULL, NULL, &options, &why);

		if (err != (cases[i].expected ? OTA_OK : OTA_ERR_INVALID)) {
			fail_msg("'%s': %d %s", cases[i].value, (int)err, why.text);
		}
		if (err == OTA_OK) {
			assert_true(options.outbox_max_bytes == cases[i].expected);
			options_free(&options);
		} else {
			assert_non_null(strstr(why.text, "accepted is a number of bytes from 1048576 on"));
		}
	}
}

static void test_database_keeps_what_libpq_reads(void **state)
{
	static const struct {
		const char *value;
		const char *expected;
	} cases[] = {
		{ "postgresql:///ota            # libpq conninfo string or URI. Required",
			"postgresql:///ota" },
		{ "postgresql://u:p%23@h/d?a=b#c", "postgresql://u:p%23@h/d?a=b#c" },
		{ "host=h password='a # b' # words", "host=h password='a # b'" },
		{ "password='it\\'s # b' dbname=x", "password='it\\'s # b' dbname=x" },
		{ "password='back\\\\' # words", "password='back\\\\'" },
		{ " \t host=h \r\n", "host=h" },
		{ "password='open # \\", "password='open # \\" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct option_pair pairs[] = {
			{ "trusted_keys", "/etc/keys" },
			{ "database", cases[i].value },
		};
		struct options options;

		assert_int_equal(options_parse(pairs, 2, false, &options, NULL), OTA_OK);
		assert_string_equal(options.database, cases[i].expected);
		options_free(&options);
	}
}

static void test_control_users(void **state)
{
	static const struct {
		const char *value;
		size_t count;
		const char *users[3];
	} cases[] = {
		{ "", 0, { NULL } },
		{ " , ,, ", 0, { NULL } },
		{ NULL, 0, { NULL } },
		{ "admin", 1, { "admin" } },
		{ "admin ops", 2, { "admin", "ops" } },
		{ ",admin,\tops , j\xc3\xbcrgen,", 3, { "admin", "ops", "j\xc3\xbcrgen" } },
		{ "admin # the only one", 1, { "admin" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct options options = parse_good("control_users", cases[i].value);

		assert_int_equal(options.control_users_count, cases[i].count);
		for (size_t j = 0; j < cases[i].count; j++) {
			assert_string_equal(options.control_users[j], cases[i].users[j]);
		}
		options_free(&options);
	}
}

static void test_too_many_control_users(void **state)
{
	char value[2 * 1025 + 1];
	struct options options;
	struct ota_why why = { { 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(value) - 1; i++) {
		value[i] = i % 2 ? ' ' : 'u';
	}
	value[sizeof(value) - 1] = '\0';
	assert_int_equal(parse("control_users", value, NULL, NULL, &options, &why), OTA_ERR_INVALID);
	value[2 * 1024] = '\0';
	assert_int_equal(parse("control_users", value, NULL, NULL, &options, &why), OTA_OK);
	assert_int_equal(options.control_users_count, 1024);
	options_free(&options);
}

static void test_topics(void **state)
{
	struct options options =
		parse_good("notify_topics", "  a/{fleet}\tb/{device}/c   {device}/d/e ");

	(void)state;
	assert_int_equal(options.notify_topics_count, 3);
	assert_string_equal(options.notify_topics[2].suffix, "/d/e");
	options_free(&options);

	options = parse_good("notify_topics",
		"1/{fleet} 2/{fleet} 3/{fleet} 4/{fleet} 5/{fleet} 6/{fleet} 7/{fleet} 8/{device}");
	assert_int_equal(options.notify_topics_count, TOPIC_TEMPLATES_MAX);
	options_free(&options);

	options = parse_good("status_topic", "{device}/up");
	assert_string_equal(options.status_topic.suffix, "/up");
	options_free(&options);
}

static void test_topics_that_could_be_the_same_are_refused(void **state)
{
	static const struct {
		const char *status;
		const char *notify;
		bool accepted;
	} cases[] = {
		{ "d/{device}/s", "d/{device}/n", true },
		{ "d/{device}/s", "d/{device}/s/n", true },
		{ "d/{device}/s", "{fleet}", true },
		{ "d/{device}/s", "d/{device}/n d/{device}/m", true },
		{ "d/{device}/s", "d/x/{device}/s", true },
		{ "d/{device}/s", "d/{device}/s", false },
		{ "d/{device}/s", "d/{fleet}/s", false },
		{ "d/{device}/s", "{fleet}/x/s", false },
		{ "d/{device}/s", "d/x/{device}", false },
		{ "d/{device}/s", "d/{device}/n d/{device}/n", false },
		{ "d/{device}/s", "d/{device}/n d/{fleet}/n", false },
		{ "d/{device}/s", "d/{device}/n a/{fleet} d/x/{device}", false },
		{ "d/{device}/s", "{device}/b a/{device}", false },
		{ "d/{device}/s", "{device}/b/c a/{device}/d", true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct options options;
		struct ota_why why = { { 0 } };
		enum ota_err err = parse(
			"status_topic", cases[i].status, "notify_topics", cases[i].notify, &options, &why);

		if ((err == OTA_OK) != cases[i].accepted) {
			fail_msg("'%s' '%s': %s", cases[i].status, cases[i].notify, why.text);
		}
		if (err == OTA_OK) {
			options_free(&options);
		} else {
			assert_non_null(strstr(why.text, "plugin_opt_notify_topics: topic"));
		}
	}
}

static void test_bad_values_are_refused_with_the_reason(void **state)
{
	static const struct {
		const char *key;
		const char *value;
		const char *reason;
	} cases[] = {
		{ "signature_policy", "none",
			"plugin_opt_signature_policy is 'none', accepted is manifest, artifact or both" },
		{ "signature_policy", "Manifest", "is 'Manifest'" },
		{ "signature_policy", "", "is ''" },
		{ "signature_policy", NULL, "is ''" },
		{ "signature_threshold", "0",
			"plugin_opt_signature_threshold is '0', accepted is an integer from 1 to 16" },
		{ "signature_threshold", "17", "is '17'" },
		{ "signature_threshold", "1x", "is '1x'" },
		{ "signature_threshold", "-1", "is '-1'" },
		{ "signature_threshold", "4294967297", "is '4294967297'" },
		{ "device_identity", "cn", "accepted is clientid or username" },
		{ "enroll", "yes", "accepted is auto or known" },
		{ "acl_other_topics", "deny", "is 'deny', accepted is defer or allow" },
		{ "state_directory", "var/lib", "is 'var/lib', accepted is an absolute path" },
		{ "state_directory", "", "accepted is an absolute path" },
		{ "outbox_sync_ms", "60001", "accepted is an integer from 0 to 60000" },
		{ "offline_serve_seconds", "86401", "accepted is an integer from 0 to 86400" },
		{ "broker_name", "a/b", "plugin_opt_broker_name is 'a/b', accepted is a name of 1 to 128" },
		{ "broker_name", "", "is ''" },
		{ "broker_name", "$x", "is '$x'" },
		{ "control_users", "\xff", "accepted is at most 1024 user names" },
		{ "status_topic", "devices/status",
			"plugin_opt_status_topic: topic 'devices/status' has no" },
		{ "status_topic", "", "plugin_opt_status_topic: topic '' is empty" },
		{ "notify_topics", "", "plugin_opt_notify_topics is '', accepted is 1 to 8 topics" },
		{ "notify_topics", "a/{fleet} b/#",
			"plugin_opt_notify_topics: topic 'b/#' has a wildcard" },
		{ "notify_topics",
			"1/{fleet} 2/{fleet} 3/{fleet} 4/{fleet} 5/{fleet} 6/{fleet} 7/{fleet} 8/{fleet} 9/{fleet}",
			"accepted is 1 to 8 topics" },
		{ "colour", "red",
			"plugin_opt_colour is not an option; accepted are database trusted_keys" },
		{ "colour", "red", " block_max_bytes" },
		{ "offline_serve_second", "1", " outbox_sync_ms offline_serve_seconds" },
		{ "intercept_push", "stage", "plugin_opt_control_users names nobody" },
		{ "brokername", "x",
			"plugin_opt_brokername is not an option, did you mean broker_name; accepted are" },
		{ "signature-policy", "x", "did you mean signature_policy;" },
		{ "", "x", "plugin_opt_ is not an option; accepted are" },
		{ "a_key_that_is_so_long_that_it_is_longer_than_any_row_of_the_matrix", "x",
			"plugin_opt_a_key_that_is_so_long_that_it_is_longer_ is not an option; accepted" },
		{ "database", "x", "plugin_opt_database is given twice" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct options options;
		struct ota_why why = { { 0 } };

		memset(&options, 0x55, sizeof(options));
		if (parse(cases[i].key, cases[i].value, NULL, NULL, &options, &why) != OTA_ERR_INVALID
			|| !strstr(why.text, cases[i].reason)) {
			fail_msg("%s: '%s' does not say '%s'", cases[i].key, why.text, cases[i].reason);
		}
		assert_int_equal(options.outbox_sync_ms, 0x55555555); /* nothing was set */
		assert_int_equal(
			parse(cases[i].key, cases[i].value, NULL, NULL, &options, NULL), OTA_ERR_INVALID);
	}
}

static void test_a_password_is_never_shown(void **state)
{
	const struct option_pair pairs[] = { { "database", "password=hunter2\xff" } };
	struct options options;
	struct ota_why why = { { 0 } };

	(void)state;
	assert_int_equal(options_parse(pairs, 1, false, &options, &why), OTA_ERR_INVALID);
	assert_string_equal(why.text,
		"plugin_opt_database is '...', accepted is a libpq connection"
		" string or URI, such as postgresql:///ota");
}

static void test_required_options(void **state)
{
	const struct option_pair pairs[] = {
		{ "trusted_keys", "/etc/keys" },
		{ "database", "postgresql:///ota" },
		{ "acl_other_topics", "defer" },
	};
	struct options options;
	struct ota_why why = { { 0 } };

	(void)state;
	assert_int_equal(options_parse(pairs, 1, false, &options, &why), OTA_ERR_INVALID);
	assert_string_equal(why.text,
		"plugin_opt_database is missing: give a libpq connection string"
		" or URI, such as postgresql:///ota");
	assert_int_equal(options_parse(pairs + 1, 1, false, &options, &why), OTA_ERR_INVALID);
	assert_non_null(
		strstr(why.text, "plugin_opt_trusted_keys is missing: give a directory of PEM"));
	assert_int_equal(options_parse(NULL, 0, false, &options, &why), OTA_ERR_INVALID);

	assert_int_equal(options_parse(pairs, 2, true, &options, &why), OTA_ERR_INVALID);
	assert_string_equal(why.text,
		"plugin_opt_acl_other_topics is missing: on Mosquitto 2.0 say `defer` (an acl_file or another"
		" ACL plugin decides about other topics) or `allow` (this broker has no ACL)");
	assert_int_equal(options_parse(pairs, 3, true, &options, &why), OTA_OK);
	assert_int_equal(options.acl_other_topics, ACL_OTHER_DEFER);
	options_free(&options);
}

static void test_the_documentation_is_the_table(void **state)
{
	size_t count = 0;
	const struct option_doc *docs = options_docs(&count);

	(void)state;
	assert_int_equal(count, 22);
	for (size_t i = 0; i < count; i++) {
		assert_true(strlen(docs[i].name) > 0 && strlen(docs[i].accepted) > 0);
		for (size_t j = 0; j < i; j++) {
			assert_string_not_equal(docs[i].name, docs[j].name);
		}
		/* A default is a value like any other. */
		if (docs[i].fallback[0] && docs[i].fallback[0] != '(') {
			struct options options = parse_good(docs[i].name, docs[i].fallback);

			assert_false(docs[i].required);
			options_free(&options);
		}
	}
	assert_string_equal(docs[0].name, "database");
	assert_true(docs[0].required);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_outbox_max_bytes),
		cmocka_unit_test(test_database_keeps_what_libpq_reads),
		cmocka_unit_test(test_control_users),
		cmocka_unit_test(test_too_many_control_users),
		cmocka_unit_test(test_topics),
		cmocka_unit_test(test_topics_that_could_be_the_same_are_refused),
		cmocka_unit_test(test_bad_values_are_refused_with_the_reason),
		cmocka_unit_test(test_a_password_is_never_shown),
		cmocka_unit_test(test_required_options),
		cmocka_unit_test(test_the_documentation_is_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
