#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/manifest.h"

#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

/* The members of a right manifest; a case changes some. */
static const char *const MEMBERS[][2] = {
	{ "schema", "1" },
	{ "version", "\"1.5.0\"" },
	{ "sequence", "42" },
	{ "url", "\"https://cdn.example.com/firmware/1.5.0.bin\"" },
	{ "sha256", "\"" DIGEST "\"" },
	{ "size", "1048576" },
	{ "hardware", "[\"rev-b\",\"rev-c\"]" },
	{ "fleets", "[\"barn\"]" },
	{ "minVersion", "\"1.2.0\"" },
	{ "maxVersion", "\"1.4.9\"" },
	{ "notBefore", "\"2026-01-01T00:00:00Z\"" },
	{ "expires", "\"2026-12-31T00:00:00+01:00\"" },
	{ "releaseNotes", "\"quieter fan\"" },
};

enum {
	MEMBER_COUNT = sizeof(MEMBERS) / sizeof(MEMBERS[0])
};

/* The manifest with one member's value replaced (NULL value: left out; unknown name: added); malloc'ed. */
static char *write_manifest(const char *name, const char *value)
{
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);
	const char *separator = "{";
	int known = 0;

	assert_non_null(stream);
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		int here = strcmp(MEMBERS[i][0], name) == 0;

		known |= here;
		if (!here || value) {
			(void)fprintf(
				stream, "%s\"%s\":%s", separator, MEMBERS[i][0], here ? value : MEMBERS[i][1]);
			separator = ",";
		}
	}
	if (!known && value) {
		(void)fprintf(stream, "%s\"%s\":%s", separator, name, value);
	}
	(void)fprintf(stream, "}");
	assert_int_equal(fclose(stream), 0);
	return text;
}

static enum ota_err parse(const char *text, struct manifest **manifest, struct ota_why *why)
{
	return manifest_parse(text, strlen(text), manifest, why);
}

static void all_members_are_read(void **state)
{
	char *text = write_manifest("", NULL);
	struct manifest *m = NULL;
	struct ota_why why = { "" };

	(void)state;
	assert_int_equal(parse(text, &m, &why), OTA_OK);
	assert_string_equal(m->terms.version, "1.5.0");
	assert_int_equal(m->terms.sequence, 42);
	assert_string_equal(m->url, "https://cdn.example.com/firmware/1.5.0.bin");
	assert_string_equal(
		m->sha256, "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
	assert_int_equal(m->size, 1048576);
	assert_int_equal(m->terms.hardware_count, 2);
	assert_string_equal(m->terms.hardware[0], "rev-b");
	assert_string_equal(m->terms.hardware[1], "rev-c");
	assert_int_equal(m->terms.fleets_count, 1);
	assert_string_equal(m->terms.fleets[0], "barn");
	assert_string_equal(m->terms.min_version, "1.2.0");
	assert_string_equal(m->terms.max_version, "1.4.9");
	assert_int_equal(m->terms.not_before_ms, INT64_C(1767225600000));
	assert_int_equal(m->terms.expires_ms, INT64_C(1798671600000));
	assert_string_equal(m->release_notes, "quieter fan");
	assert_string_equal(m->json, text);
	manifest_free(m);
	free(text);
}

static void optional_members_may_be_absent(void **state)
{
	static const char text[] = "{\"schema\":1,\"version\":\"1.5.0\",\"sequence\":1,"
							   "\"url\":\"http://h/f\",\"sha256\":\"" DIGEST "\",\"size\":1}";
	struct manifest *m = NULL;

	(void)state;
	assert_int_equal(parse(text, &m, NULL), OTA_OK);
	assert_int_equal(m->terms.hardware_count, 0);
	assert_int_equal(m->terms.fleets_count, 0);
	assert_null(m->terms.min_version);
	assert_null(m->terms.max_version);
	assert_int_equal(m->terms.not_before_ms, 0);
	assert_int_equal(m->terms.expires_ms, 0);
	assert_null(m->release_notes);
	manifest_free(m);
}

static void accepted_values(void **state)
{
	static const char *const cases[][2] = {
		{ "sequence", "9007199254740991" },
		{ "sequence", "1" },
		{ "size", "9007199254740991" },
		{ "version", "\"1.0.0-rc.1+build.5\"" },
		{ "url", "\"http://[::1]:8080/a?b=c#d\"" },
		{ "maxVersion", "\"1.2.0\"" },
		{ "futureMember", "{\"deep\":[1,2]}" },
		{ "releaseNotes", "\"\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = write_manifest(cases[i][0], cases[i][1]);
		struct manifest *m = NULL;
		struct ota_why why = { "" };

		if (parse(text, &m, &why) != OTA_OK) {
			fail_msg("%s %s: %s", cases[i][0], cases[i][1], why.text);
		}
		manifest_free(m);
		free(text);
	}
}

static void refused_values_name_member_value_and_what_is_accepted(void **state)
{
	static const struct {
		const char *name;
		const char *value;
		const char *reason;
	} cases[] = {
		{ "schema", NULL, "member \"schema\" is missing" },
		{ "schema", "2", "\"schema\" is 2; accepted is an integer from 1 to 1" },
		{ "schema", "\"1\"", "\"schema\" is \"1\"" },
		{ "version", NULL, "\"version\" is missing" },
		{ "version", "\"v1.5.0\"", "\"version\" is \"v1.5.0\"; accepted is a Semantic Version" },
		{ "version", "\"1.5\"", "Semantic Version" },
		{ "version", "1.5", "\"version\" is 1.5; accepted is text" },
		{ "sequence", NULL, "\"sequence\" is missing" },
		{ "sequence", "0", "\"sequence\" is 0; accepted is an integer from 1 to 9007199254740991" },
		{ "sequence", "-1", "\"sequence\" is -1" },
		{ "sequence", "1.5", "\"sequence\" is 1.5" },
		{ "sequence", "1e400", "out of range" },
		{ "sequence", "9007199254740992", "\"sequence\" is 9007199254740992" },
		{ "sequence", "9007199254740993", "\"sequence\" is 9007199254740992" },
		{ "sequence", "\"7\"", "\"sequence\" is \"7\"" },
		{ "url", NULL, "\"url\" is missing" },
		{ "url", "\"ftp://h/f\"", "\"url\" is \"ftp://h/f\"; accepted is an https:// or http://" },
		{ "url", "\"https://\"", "\"url\"" },
		{ "url", "\"https:///f\"", "\"url\"" },
		{ "url", "\"//h/f\"", "\"url\"" },
		{ "url", "\"javascript:alert(1)\"", "\"url\"" },
		{ "url", "\"https://h/a b\"", "\"url\"" },
		{ "url", "\"https://h/\\u00e9\"", "\"url\"" },
		{ "url", "\"https://h/\\n\"", "\"url\" is \"https://h/?\"" },
		{ "url", "\"https://h/\\\"\"", "\"url\"" },
		{ "sha256", NULL, "\"sha256\" is missing" },
		{ "sha256", "\"00\"", "\"sha256\" is \"00\"; accepted is 64 hex digits" },
		{ "sha256", "\"" DIGEST "0\"", "65 bytes" },
		{ "sha256", "\"g0112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\"",
			"64 hex digits" },
		{ "size", NULL, "\"size\" is missing" },
		{ "size", "0", "\"size\" is 0" },
		{ "size", "1.5", "\"size\" is 1.5" },
		{ "size", "9007199254740992", "\"size\" is 9007199254740992" },
		{ "hardware", "[]", "\"hardware\" is a list; accepted is a list of 1 to 64" },
		{ "hardware", "\"rev-b\"", "\"hardware\" is \"rev-b\"" },
		{ "hardware", "null", "\"hardware\" is null" },
		{ "hardware", "[\"\"]", "\"hardware\" has the element \"\"" },
		{ "hardware", "[\"a\",1]", "\"hardware\" has the element 1" },
		{ "fleets", "{}", "\"fleets\" is an object" },
		{ "minVersion", "\"1.5\"", "\"minVersion\" is \"1.5\"" },
		{ "minVersion", "\"1.5.0\"",
			"\"minVersion\" is \"1.5.0\"; accepted is a version not above" },
		{ "maxVersion", "null", "\"maxVersion\" is null" },
		{ "notBefore", "\"2026-01-01\"",
			"\"notBefore\" is \"2026-01-01\"; accepted is an RFC 3339" },
		{ "notBefore", "\"2026-12-30T23:00:00Z\"", "accepted is a time before expires" },
		{ "notBefore", "1769827200", "\"notBefore\" is 1769827200" },
		{ "expires", "\"1970-01-01T00:00:00Z\"", "\"expires\" is \"1970-01-01T00:00:00Z\"" },
		{ "expires", "\"1969-01-01T00:00:00Z\"", "\"expires\"" },
		{ "expires", "\"never\"", "\"expires\" is \"never\"" },
		{ "expires", "null", "\"expires\" is null" },
		{ "Expires", "\"2026-12-31T00:00:00Z\"", "\"Expires\" must be written \"expires\"" },
		{ "SHA256", "\"x\"", "\"SHA256\" must be written \"sha256\"" },
		{ "releaseNotes", "[]", "\"releaseNotes\" is a list" },
		{ "extra", "1,\"extra\":2", "more than once" },
		{ "extra", "[[[[[[[[]]]]]]]]", "deeper than 8" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = write_manifest(cases[i].name, cases[i].value);
		struct manifest *m = NULL;
		struct ota_why why = { "" };

		if (parse(text, &m, &why) != OTA_ERR_INVALID || !strstr(why.text, cases[i].reason)) {
			fail_msg("%s %s: \"%s\"", cases[i].name, cases[i].value ? cases[i].value : "absent",
				why.text);
		}
		assert_null(m);
		free(text);
	}
}

/* Parse a manifest whose member is `before`, `count` times `unit`, `after`. */
static enum ota_err parse_long(
	const char *name, const char *before, const char *unit, size_t count, const char *after)
{
	char *value = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&value, &length);
	struct manifest *m = NULL;
	enum ota_err err = OTA_ERR_NOMEM;
	char *text = NULL;

	assert_non_null(stream);
	(void)fputs(before, stream);
	for (size_t i = 0; i < count; i++) {
		(void)fputs(unit, stream);
	}
	(void)fputs(after, stream);
	assert_int_equal(fclose(stream), 0);
	text = write_manifest(name, value);
	err = parse(text, &m, NULL);
	if (!err) {
		manifest_free(m);
	}
	free(text);
	free(value);
	return err;
}

static void lengths_are_bounded(void **state)
{
	static const struct {
		const char *name;
		const char *before;
		const char *unit;
		size_t most;
		const char *after;
	} cases[] = {
		{ "url", "\"https://h", "x", MANIFEST_URL_MAX - 9, "\"" },
		{ "releaseNotes", "\"", "x", MANIFEST_NOTES_MAX, "\"" },
		{ "hardware", "[\"", "x", MANIFEST_NAME_MAX, "\"]" },
		{ "hardware", "[\"x\"", ",\"x\"", MANIFEST_LIST_MAX - 1, "]" },
		{ "fleets", "[\"x\"", ",\"x\"", MANIFEST_LIST_MAX - 1, "]" },
		{ "version", "\"1.0.", "1", 60, "\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t more = 0; more < 2; more++) {
			if (parse_long(cases[i].name, cases[i].before, cases[i].unit, cases[i].most + more,
					cases[i].after)
				!= (more ? OTA_ERR_INVALID : OTA_OK)) {
				fail_msg("%s, case %zu, %zu more than the most", cases[i].name, i, more);
			}
		}
	}
	assert_int_equal(parse_long("extra", "\"", "x", 100000, "\""), OTA_OK);
	assert_int_equal(parse_long("extra", "\"", "x", MANIFEST_SIZE_MAX, "\""), OTA_ERR_INVALID);
}

static void columns_make_the_same_manifest(void **state)
{
	struct manifest *m = NULL;
	struct ota_why why = { "" };

	(void)state;
	assert_int_equal(manifest_from_columns("1.5.0", 42, "https://h/f?a=\x25", DIGEST, 7,
						 "\"quoted\"\n\xc3\xbc", &m, &why),
		OTA_OK);
	assert_string_equal(m->terms.version, "1.5.0");
	assert_int_equal(m->terms.sequence, 42);
	assert_string_equal(m->url, "https://h/f?a=%");
	assert_int_equal(m->size, 7);
	assert_string_equal(m->release_notes, "\"quoted\"\n\xc3\xbc");
	assert_int_equal(strncmp(m->sha256, "00112233", 8), 0);
	assert_int_equal(strncmp(m->json, "{\"schema\":1,\"version\":\"1.5.0\"", 28), 0);
	manifest_free(m);
	m = NULL;
	assert_int_equal(
		manifest_from_columns("1.5.0", 1, "https://h", DIGEST, 1, NULL, &m, &why), OTA_OK);
	assert_null(m->release_notes);
	manifest_free(m);
}

static void columns_are_checked_as_manifests_are(void **state)
{
	static const struct {
		const char *version;
		int64_t sequence;
		const char *url;
		const char *sha256;
		int64_t size;
		const char *notes;
		const char *reason;
	} cases[] = {
		{ NULL, 1, "https://h", DIGEST, 1, NULL, "\"version\" is null" },
		{ "1", 1, "https://h", DIGEST, 1, NULL, "\"version\" is \"1\"" },
		{ "1.0.0", 0, "https://h", DIGEST, 1, NULL, "\"sequence\" is 0" },
		{ "1.0.0", INT64_MAX, "https://h", DIGEST, 1, NULL, "\"sequence\"" },
		{ "1.0.0", INT64_C(9007199254740993), "https://h", DIGEST, 1, NULL, "\"sequence\"" },
		{ "1.0.0", 1, NULL, DIGEST, 1, NULL, "\"url\" is null" },
		{ "1.0.0", 1, "file:///etc/passwd", DIGEST, 1, NULL, "\"url\"" },
		{ "1.0.0", 1, "https://h\",\"size\":\"1", DIGEST, 1, NULL, "\"url\"" },
		{ "1.0.0", 1, "https://h", NULL, 1, NULL, "\"sha256\" is null" },
		{ "1.0.0", 1, "https://h", "zz", 1, NULL, "\"sha256\" is \"zz\"" },
		{ "1.0.0", 1, "https://h", DIGEST, 0, NULL, "\"size\" is 0" },
		{ "1.0.0", 1, "https://h", DIGEST, INT64_MIN, NULL, "\"size\"" },
		{ "1.0.0", 1, "https://h", DIGEST, 1, "\xff", "UTF-8" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct manifest *m = NULL;
		struct ota_why why = { "" };

		if (manifest_from_columns(cases[i].version, cases[i].sequence, cases[i].url,
				cases[i].sha256, cases[i].size, cases[i].notes, &m, &why)
				!= OTA_ERR_INVALID
			|| !strstr(why.text, cases[i].reason)) {
			fail_msg("case %zu: \"%s\"", i, why.text);
		}
		assert_null(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_members_are_read),
		cmocka_unit_test(optional_members_may_be_absent),
		cmocka_unit_test(accepted_values),
		cmocka_unit_test(refused_values_name_member_value_and_what_is_accepted),
		cmocka_unit_test(lengths_are_bounded),
		cmocka_unit_test(columns_make_the_same_manifest),
		cmocka_unit_test(columns_are_checked_as_manifests_are),
	};

	return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
