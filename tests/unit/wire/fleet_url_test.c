#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/fleet_url.h"

static const int64_t NOW = INT64_C(1369353600000); /* 2013-05-24T00:00:00Z */

static const struct credentials KEYS = { .count = 1,
	.items = { { .name = "aws",
		.key_id = "AKIAIOSFODNN7EXAMPLE",
		.secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		.region = "us-east-1" } } };

static void good_templates(void **state)
{
	static const struct {
		const char *text;
		const char *origin;
		const char *host;
		const char *prefix;
	} cases[] = {
		{ "https://fw.example.com{path}", "https://fw.example.com", "fw.example.com", "" },
		{ "http://10.0.0.1:9000/bucket{path}", "http://10.0.0.1:9000", "10.0.0.1:9000", "/bucket" },
		{ "https://h:443/a/b.c_d~e-F{path}", "https://h", "h", "/a/b.c_d~e-F" },
		{ "http://h:80{path}", "http://h", "h", "" },
		{ "http://h:443{path}", "http://h:443", "h:443", "" },
		{ "https://h:80{path}", "https://h:80", "h:80", "" },
		{ "https://h:65535/...{path}", "https://h:65535", "h:65535", "/..." },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fleet_url_template made = { 0 };
		struct ota_why why = { "" };

		if (fleet_url_template_parse(cases[i].text, &made, &why)) {
			fail_msg("%s: %s", cases[i].text, why.text);
		}
		assert_string_equal(made.origin, cases[i].origin);
		assert_string_equal(made.host, cases[i].host);
		assert_string_equal(made.prefix, cases[i].prefix);
		fleet_url_template_free(&made);
	}
}

static void bad_templates(void **state)
{
	static const struct {
		const char *text;
		const char *reason;
	} cases[] = {
		{ "", "neither https://" },
		{ "ftp://h{path}", "neither https://" },
		{ "HTTPS://h{path}", "neither https://" },
		{ "https://{path}", "no host name" },
		{ "https:///a{path}", "no host name" },
		{ "https://H{path}", "no host name" },
		{ "https://-h{path}", "no host name" },
		{ "https://h.{path}", "no host name" },
		{ "https://u@h{path}", "prefix" },
		{ "https://[::1]{path}", "no host name" },
		{ "https://h:{path}", "port" },
		{ "https://h:0{path}", "port" },
		{ "https://h:08{path}", "port" },
		{ "https://h:65536{path}", "port" },
		{ "https://h:123456{path}", "port" },
		{ "https://h:8o{path}", "port" },
		{ "https://h", "does not end with {path}" },
		{ "https://h/a", "does not end with {path}" },
		{ "https://h{path}x", "does not end with {path}" },
		{ "https://h{path}?a=b", "does not end with {path}" },
		{ "https://h{path}{path}", "prefix" },
		{ "https://h/{path}", "prefix" },
		{ "https://h/a/{path}", "prefix" },
		{ "https://h//a{path}", "prefix" },
		{ "https://h/a%20b{path}", "prefix" },
		{ "https://h/./a{path}", "prefix" },
		{ "https://h/a/..{path}", "prefix" },
		{ "https://h/a?b{path}", "prefix" },
		{ "https://ha_b{path}", "prefix" },
		{ "{path}", "neither https://" },
		{ "https://", "no host name" },
	};
	char text[FLEET_URL_TEMPLATE_MAX + 2];
	struct fleet_url_template made = { 0 };
	struct ota_why why = { "" };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (fleet_url_template_parse(cases[i].text, &made, &why) != OTA_ERR_INVALID
			|| !strstr(why.text, cases[i].reason) || !strstr(why.text, "accepted is")) {
			fail_msg("%s: %s", cases[i].text, why.text);
		}
	}
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(fleet_url_template_parse(text, &made, &why), OTA_ERR_INVALID);
	assert_null(made.origin);
}

/* The URL of fleet "f", or the reason that there is none. */
static const char *make(
	const char *template, const char *credential, const char *manifest_url, int64_t until_ms)
{
	static char out[FLEET_URL_MAX];
	static struct ota_why why;
	char text[1024];
	struct fleet_urls *urls = NULL;
	enum ota_err err;

	snprintf(text, sizeof(text), "a\thttps://a{path}\t\nf\t%s\t%s\nz\thttps://z{path}\t", template,
		credential);
	assert_int_equal(fleet_urls_parse(text, &KEYS, &urls), OTA_OK);
	assert_non_null(fleet_urls_find(urls, "a"));
	assert_non_null(fleet_urls_find(urls, "z"));
	assert_null(fleet_urls_find(urls, "b"));
	assert_null(fleet_urls_find(urls, NULL));
	err = fleet_url_make(fleet_urls_find(urls, "f"), manifest_url, NOW, until_ms, out, &why);
	fleet_urls_free(urls);
	return err ? why.text : out;
}

static void the_path_stays(void **state)
{
	(void)state;
	assert_string_equal(
		make("https://b{path}", "", "http://cdn:8080/fw/1.5.0.bin", 0), "https://b/fw/1.5.0.bin");
	assert_string_equal(make("http://h:9000/bucket{path}", "", "https://u@cdn/a%20b/;x=1.bin", 0),
		"http://h:9000/bucket/a%20b/;x=1.bin");
	assert_string_equal(make("https://b{path}", "", "https://cdn/", 0), "https://b/");
	assert_string_equal(
		make("https://b{path}", "", "https://cdn/.../a..b", 0), "https://b/.../a..b");
}

static void signed_ones(void **state)
{
	static const char aws[] =
		"https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
		"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
		"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
		"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
	static const struct {
		int64_t until_ms; /* from NOW on */
		const char *expires;
	} cases[] = {
		{ 86400000, "X-Amz-Expires=86400&" },
		{ 1, "X-Amz-Expires=1&" },
		{ 1001, "X-Amz-Expires=2&" },
		{ -5, "X-Amz-Expires=1&" },
		{ INT64_C(604800000), "X-Amz-Expires=604800&" },
		{ INT64_C(604800001), "X-Amz-Expires=604800&" },
	};

	(void)state;
	assert_string_equal(make("https://examplebucket.s3.amazonaws.com:443{path}", "aws",
							"https://cdn/test.txt", NOW + 86400000),
		aws);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_non_null(
			strstr(make("https://b{path}", "aws", "https://cdn/a", NOW + cases[i].until_ms),
				cases[i].expires));
	}
	assert_non_null(
		strstr(make("https://b{path}", "aws", "https://cdn/a", 0), "X-Amz-Expires=604800&"));
}

static void none_can_be_made(void **state)
{
	static char long_url[2100];

	(void)state;
	/* The same list as in tests/sql/fleet_url_test.sql. */
	assert_non_null(strstr(make("https://b{path}", "", "https://cdn", 0), "no path"));
	assert_non_null(strstr(make("https://b{path}", "", "https://cdn?a/b", 0), "no path"));
	assert_non_null(strstr(make("https://b{path}", "", "https://cdn/a?b", 0), "'?'"));
	assert_non_null(strstr(make("https://b{path}", "", "https://cdn/a#b", 0), "'?'"));
	assert_non_null(strstr(make("https://b/x{path}", "", "https://cdn/../a", 0), "\"..\""));
	assert_non_null(strstr(make("https://b/x{path}", "", "https://cdn/a/%2E.", 0), "\"..\""));
	assert_non_null(strstr(make("https://b/x{path}", "", "https://cdn/./a", 0), "\"..\""));
	assert_non_null(strstr(make("https://b{path}", "aws", "https://cdn/%zz", 0), "'%'"));
	assert_non_null(
		strstr(make("https://b{path}", "other", "https://cdn/a", 0), "no credential \"other\""));
	assert_non_null(strstr(make("https://b", "", "https://cdn/a", 0), "{path}"));
	/* The longest path that a manifest may have fits. */
	memset(long_url, 'a', 2048);
	memcpy(long_url, "https://c/", 10);
	assert_int_equal(strncmp(make("https://b{path}", "aws", long_url, 0), "https://b/aaa", 13), 0);
}

static void lines_that_are_none(void **state)
{
	static const char *const texts[] = { "f", "f\thttps://h{path}", "f\t\t" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct fleet_urls *urls = NULL;
		char out[FLEET_URL_MAX];
		struct ota_why why = { "" };

		assert_int_equal(fleet_urls_parse(texts[i], NULL, &urls), OTA_OK);
		/* Not the manifest's URL: somebody wanted another one. */
		assert_non_null(fleet_urls_find(urls, "f"));
		assert_int_equal(
			fleet_url_make(fleet_urls_find(urls, "f"), "https://cdn/a", NOW, 0, out, &why),
			OTA_ERR_INVALID);
		assert_true(why.text[0] != '\0');
		fleet_urls_free(urls);
	}
	struct fleet_urls *none = NULL;

	assert_int_equal(fleet_urls_parse("", NULL, &none), OTA_OK);
	assert_null(fleet_urls_find(none, ""));
	fleet_urls_free(none);
	fleet_urls_free(NULL);
	assert_null(fleet_urls_find(NULL, "f"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_templates),
		cmocka_unit_test(bad_templates),
		cmocka_unit_test(the_path_stays),
		cmocka_unit_test(signed_ones),
		cmocka_unit_test(none_can_be_made),
		cmocka_unit_test(lines_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
