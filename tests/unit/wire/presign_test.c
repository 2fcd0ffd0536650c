#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/presign.h"

/* AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)", its example. */
static const struct credential AWS = {
	.name = "aws",
	.key_id = "AKIAIOSFODNN7EXAMPLE",
	.secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	.region = "us-east-1",
};
static const int64_t MAY_24 = INT64_C(1369353600000); /* 2013-05-24T00:00:00Z */

static enum ota_err sign(const char *host, const char *path, int64_t now_ms, int64_t seconds,
	char query[PRESIGN_QUERY_MAX])
{
	struct presign_day day = { 0 };

	return presign_query(&AWS, &day, host, path, now_ms, seconds, query);
}

static void the_example_of_aws(void **state)
{
	char query[PRESIGN_QUERY_MAX];

	(void)state;
	assert_int_equal(
		sign("examplebucket.s3.amazonaws.com", "/test.txt", MAY_24, 86400, query), OTA_OK);
	assert_string_equal(query,
		"X-Amz-Algorithm=AWS4-HMAC-SHA256"
		"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
		"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
		"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

/* The key of a day is made once a day, and every day anew. */
static void the_days_key(void **state)
{
	struct presign_day day = { 0 };
	struct presign_day first;
	char query[PRESIGN_QUERY_MAX];
	char again[PRESIGN_QUERY_MAX];

	(void)state;
	assert_int_equal(presign_query(&AWS, &day, "h", "/a", MAY_24, 60, query), OTA_OK);
	assert_string_equal(day.date, "20130524");
	first = day;
	assert_int_equal(presign_query(&AWS, &day, "h", "/a", MAY_24 + 86399999, 60, query), OTA_OK);
	assert_memory_equal(&first, &day, sizeof(day));
	assert_int_equal(presign_query(&AWS, &day, "h", "/a", MAY_24 + 86400000, 60, query), OTA_OK);
	assert_string_equal(day.date, "20130525");
	assert_memory_not_equal(first.key, day.key, sizeof(day.key));
	/* The cached key signs what a new one would. */
	assert_int_equal(presign_query(&AWS, &day, "h", "/a", MAY_24 + 86400000, 60, again), OTA_OK);
	assert_string_equal(query, again);
	assert_int_equal(sign("h", "/a", MAY_24 + 86400000, 60, again), OTA_OK);
	assert_string_equal(query, again);
}

/* A server decodes the path and encodes it in its own way before it compares: however it is written, it is one signature. */
static void one_path_has_one_signature(void **state)
{
	static const char *const same[][2] = {
		{ "/a b", "/a%20b" },
		{ "/a+b", "/a%2Bb" },
		{ "/a%2bb", "/a%2Bb" },
		{ "/%7Ea-b_c.d", "/~a-b_c.d" },
		{ "/a:b@c=d&e,f;g!h'i(j)k*l$m", "/a%3Ab%40c%3Dd%26e%2Cf%3Bg%21h%27i%28j%29k%2Al%24m" },
		{ "/a%2Fb", "/a/b" },
		{ "/\xc3\xbc", "/%C3%BC" },
	};
	char left[PRESIGN_QUERY_MAX];
	char right[PRESIGN_QUERY_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		assert_int_equal(sign("h", same[i][0], MAY_24, 60, left), OTA_OK);
		assert_int_equal(sign("h", same[i][1], MAY_24, 60, right), OTA_OK);
		assert_string_equal(left, right);
	}
	assert_int_equal(sign("h", "/a/b", MAY_24, 60, left), OTA_OK);
	assert_int_equal(sign("h", "/a//b", MAY_24, 60, right), OTA_OK);
	assert_string_not_equal(left, right);
}

static void limits(void **state)
{
	static char long_path[PRESIGN_PATH_MAX + 2];
	static char long_host[PRESIGN_HOST_MAX + 2];
	static struct credential largest;
	struct presign_day day = { 0 };
	char query[PRESIGN_QUERY_MAX];

	(void)state;
	assert_int_equal(sign("h", "/a", MAY_24, 0, query), OTA_ERR_INVALID);
	assert_int_equal(sign("h", "/a", MAY_24, 604801, query), OTA_ERR_INVALID);
	assert_int_equal(sign("h", "/a", MAY_24, 604800, query), OTA_OK);
	assert_int_equal(sign("h", "/a%", MAY_24, 60, query), OTA_ERR_INVALID);
	assert_int_equal(sign("h", "/a%4", MAY_24, 60, query), OTA_ERR_INVALID);
	assert_int_equal(sign("h", "/a%4g", MAY_24, 60, query), OTA_ERR_INVALID);
	memset(long_path, '%', sizeof(long_path) - 1);
	long_path[0] = '/';
	assert_int_equal(sign("h", long_path, MAY_24, 60, query), OTA_ERR_FULL);
	memset(long_host, 'h', sizeof(long_host) - 1);
	assert_int_equal(sign(long_host, "/a", MAY_24, 60, query), OTA_ERR_FULL);
	/* The largest of everything fits. */
	memset(long_path + 1, ' ', sizeof(long_path) - 2);
	long_path[PRESIGN_PATH_MAX] = '\0';
	long_host[PRESIGN_HOST_MAX] = '\0';
	memset(largest.key_id, '+', sizeof(largest.key_id) - 1);
	memset(largest.secret, '+', sizeof(largest.secret) - 1);
	memset(largest.region, 'r', sizeof(largest.region) - 1);
	assert_int_equal(
		presign_query(&largest, &day, long_host, long_path, INT64_MAX, 604800, query), OTA_OK);
	assert_true(strlen(query) < PRESIGN_QUERY_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_aws),
		cmocka_unit_test(the_days_key),
		cmocka_unit_test(one_path_has_one_signature),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
