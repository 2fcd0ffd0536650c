#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/json.h"
#include "ota/wire/notice.h"

#define DIGEST "f0e4c2f76c58916ec258f246851bea091d14d4247a2fc3e18694461b1816e13b"

static const int64_t DEADLINE = INT64_C(1769827200000);

/* A notice of a release with these parts (NULL: none). */
static char *render(const char *notes, const char *signature, const char *envelope,
	const char *stage, size_t *length)
{
	char *signature_copy = signature ? strdup(signature) : NULL;
	char *envelope_copy = envelope ? strdup(envelope) : NULL;
	struct release release = { .signature_base64 = signature_copy, .envelope = envelope_copy };
	struct notice_template *notice = NULL;
	char *payload = NULL;

	assert_int_equal(manifest_from_columns("1.5.0", 7, "https://cdn.example.com/f.bin", DIGEST,
						 1048576, notes, &release.manifest, NULL),
		OTA_OK);
	assert_int_equal(notice_template_make(&release, &notice), OTA_OK);
	/* The template is a copy. */
	manifest_free(release.manifest);
	free(signature_copy);
	free(envelope_copy);
	assert_int_equal(notice_render(notice, NULL, 17, 1, stage, DEADLINE, &payload, length), OTA_OK);
	notice_template_free(notice);
	return payload;
}

static void members_stand_in_the_order_of_the_contract(void **state)
{
	static const char plain[] =
		"{\"version\":\"1.5.0\",\"url\":\"https://cdn.example.com/f.bin\",\"sha256\":\"" DIGEST
		"\",\"size\":1048576,\"rollout\":17,\"attempt\":1,\"stage\":\"canary\","
		"\"deadline\":\"2026-01-31T02:40:00Z\"}";
	static const char full[] =
		"{\"version\":\"1.5.0\",\"url\":\"https://cdn.example.com/f.bin\",\"sha256\":\"" DIGEST
		"\",\"size\":1048576,\"releaseNotes\":\"a \\\"b\\\"\\n\",\"signature\":\"AA==\","
		"\"manifest\":{\"payloadType\":\"t\"},\"rollout\":17,\"attempt\":1,\"stage\":\"\","
		"\"deadline\":\"2026-01-31T02:40:00Z\"}";
	size_t length = 0;
	char *payload = render(NULL, NULL, NULL, "canary", &length);

	(void)state;
	assert_string_equal(payload, plain);
	assert_int_equal(length, strlen(plain));
	free(payload);
	payload = render("a \"b\"\n", "AA==", "{\"payloadType\":\"t\"}", NULL, &length);
	assert_string_equal(payload, full);
	assert_int_equal(length, strlen(full));
	free(payload);
}

static void any_stage_label_stays_json(void **state)
{
	static const char *const labels[] = { "\"", "\\", "\x01\x02\x1f", "a\",\"url\":\"evil",
		"\xc3\xbc\xf0\x9f\x98\x80", "\t\r\n\b\f" };

	(void)state;
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
		size_t length = 0;
		char *payload = render(NULL, NULL, NULL, labels[i], &length);
		const char *stage = NULL;
		cJSON *root = NULL;

		assert_int_equal(json_parse_object(payload, length, 8, &root, NULL), OTA_OK);
		assert_int_equal(json_text(root, "stage", 100, &stage, NULL), OTA_OK);
		assert_string_equal(stage, labels[i]);
		cJSON_Delete(root);
		free(payload);
	}
}

static void largest_values_fit(void **state)
{
	struct release release = { 0 };
	struct notice_template *notice = NULL;
	char stage[1001];
	char *payload = NULL;
	size_t length = 0;

	(void)state;
	memset(stage, 1, sizeof(stage) - 1); /* six bytes each when escaped */
	stage[sizeof(stage) - 1] = '\0';
	assert_int_equal(manifest_from_columns("1.5.0", JSON_INTEGER_MAX, "https://h", DIGEST,
						 JSON_INTEGER_MAX, NULL, &release.manifest, NULL),
		OTA_OK);
	assert_int_equal(notice_template_make(&release, &notice), OTA_OK);
	assert_int_equal(
		notice_render(notice, NULL, INT64_MIN, INT32_MIN, stage, INT64_MAX, &payload, &length),
		OTA_OK);
	assert_int_equal(length, strlen(payload));
	assert_non_null(strstr(payload, "\"rollout\":-9223372036854775808,\"attempt\":-2147483648,"));
	assert_non_null(strstr(payload, "\"deadline\":\"9999-12-31T23:59:59Z\"}"));
	free(payload);
	manifest_free(release.manifest);
	notice_template_free(notice);
}

static void notices_that_are_too_large_are_not_made(void **state)
{
	static char large[NOTICE_PAYLOAD_MAX + 1];
	struct release release = { .envelope = large };
	struct notice_template *notice = NULL;
	char *payload = NULL;
	size_t length = 0;

	(void)state;
	memset(large, ' ', sizeof(large) - 1);
	assert_int_equal(
		manifest_from_columns("1.5.0", 1, "https://h", DIGEST, 1, NULL, &release.manifest, NULL),
		OTA_OK);
	assert_int_equal(notice_template_make(&release, &notice), OTA_OK);
	assert_int_equal(notice_render(notice, NULL, 1, 1, "s", 0, &payload, &length), OTA_ERR_FULL);
	assert_null(payload);
	manifest_free(release.manifest);
	notice_template_free(notice);
}

static void recalls(void **state)
{
	char *payload = NULL;
	size_t length = 0;

	(void)state;
	assert_int_equal(notice_render_recall(17, "1.5.0", &payload, &length), OTA_OK);
	assert_string_equal(payload, "{\"action\":\"cancel\",\"rollout\":17,\"version\":\"1.5.0\"}");
	assert_int_equal(length, strlen(payload));
	free(payload);
}

/* FIPS 180-2, appendix B.1, and the digest of nothing. */
static void digests_are_sha256(void **state)
{
	static const uint8_t abc[] = { 0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea };
	static const uint8_t nothing[] = { 0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14 };
	struct notice_digest digest;

	(void)state;
	assert_int_equal(notice_digest("abc", 3, &digest), OTA_OK);
	assert_memory_equal(digest.bytes, abc, sizeof(abc));
	assert_int_equal(notice_digest(NULL, 0, &digest), OTA_OK);
	assert_memory_equal(digest.bytes, nothing, sizeof(nothing));
}

static void every_byte_counts(void **state)
{
	size_t length = 0;
	char *payload =
		render("notes", "AA==", "{\"signatures\":[{\"sig\":\"AA==\"}]}", "full", &length);
	struct notice_digest first;
	struct notice_digest other;

	(void)state;
	assert_int_equal(notice_digest(payload, length, &first), OTA_OK);
	assert_int_equal(notice_digest(payload, length, &other), OTA_OK);
	assert_true(notice_digest_equal(&first, &other));
	for (size_t i = 0; i < length; i++) {
		payload[i] ^= 1;
		assert_int_equal(notice_digest(payload, length, &other), OTA_OK);
		assert_false(notice_digest_equal(&first, &other));
		payload[i] ^= 1;
	}
	assert_int_equal(notice_digest(payload, length - 1, &other), OTA_OK);
	assert_false(notice_digest_equal(&first, &other));
	free(payload);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_stand_in_the_order_of_the_contract),
		cmocka_unit_test(any_stage_label_stays_json),
		cmocka_unit_test(largest_values_fit),
		cmocka_unit_test(notices_that_are_too_large_are_not_made),
		cmocka_unit_test(recalls),
		cmocka_unit_test(digests_are_sha256),
		cmocka_unit_test(every_byte_counts),
	};

	return cmocka_run_group_tests_name("notice", tests, NULL, NULL);
}
