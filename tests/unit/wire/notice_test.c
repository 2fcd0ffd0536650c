#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/json.h"
#include "ota/wire/notice.h"

#define DIGEST "f0e4c2f76c58916ec258f246851bea091d14d4247a2fc3e18694461b1816e13b"

#define DEADLINE_MS INT64_C(1769827200000)

static const int64_t DEADLINE = DEADLINE_MS;

/* A notice of a release with these parts (NULL: none). */
static char *render(const char *notes, const char *signature, const char *envelope,
	const char *stage, size_t *length)
{
	char *signature_copy = signature ? strdup(signature) : NULL;
	char *envelope_copy = envelope ? strdup(envelope) : NULL;
	struct release release = { .signature_base64 = signature_copy, .envelope = envelope_copy };
	struct notice_template *from = NULL;
	const struct notice *notice = NULL;
	struct notice_digest digest;
	char *payload;

	assert_int_equal(manifest_from_columns("1.5.0", 7, "https://cdn.example.com/f.bin", DIGEST,
						 1048576, notes, &release.manifest, NULL),
		OTA_OK);
	assert_int_equal(notice_template_make(&release, &from), OTA_OK);
	/* The template is a copy. */
	manifest_free(release.manifest);
	free(signature_copy);
	free(envelope_copy);
	assert_int_equal(notice_render(from, NULL, 17, 1, stage, DEADLINE, &notice), OTA_OK);
	assert_int_equal(notice_digest(notice->payload, notice->length, &digest), OTA_OK);
	assert_true(notice_digest_equal(&notice->digest, &digest));
	payload = strdup(notice->payload);
	*length = notice->length;
	notice_template_free(from);
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
	struct notice_template *from = NULL;
	const struct notice *notice = NULL;
	char stage[1001];

	(void)state;
	memset(stage, 1, sizeof(stage) - 1); /* six bytes each when escaped */
	stage[sizeof(stage) - 1] = '\0';
	assert_int_equal(manifest_from_columns("1.5.0", JSON_INTEGER_MAX, "https://h", DIGEST,
						 JSON_INTEGER_MAX, NULL, &release.manifest, NULL),
		OTA_OK);
	assert_int_equal(notice_template_make(&release, &from), OTA_OK);
	assert_int_equal(
		notice_render(from, NULL, INT64_MIN, INT32_MIN, stage, INT64_MAX, &notice), OTA_OK);
	assert_int_equal(notice->length, strlen(notice->payload));
	assert_non_null(
		strstr(notice->payload, "\"rollout\":-9223372036854775808,\"attempt\":-2147483648,"));
	assert_non_null(strstr(notice->payload, "\"deadline\":\"9999-12-31T23:59:59Z\"}"));
	manifest_free(release.manifest);
	notice_template_free(from);
}

/* Made once for all that agree in everything, and anew for whoever differs in anything. */
static void same_notices_are_made_once(void **state)
{
	static const struct {
		const char *url;
		int64_t rollout;
		int32_t attempt;
		const char *stage;
		int64_t deadline_ms;
		bool same; /* as the one before it */
	} rows[] = {
		{ NULL, 17, 1, "canary", DEADLINE_MS, false },
		{ NULL, 17, 1, "canary", DEADLINE_MS, true },
		{ NULL, 17, 1, "canary", DEADLINE_MS + 999, true }, /* whole seconds */
		{ NULL, 17, 1, "canary", DEADLINE_MS + 1000, false },
		{ NULL, 17, 1, "canary", DEADLINE_MS - 1, false },
		{ NULL, 17, 2, "canary", DEADLINE_MS - 1, false },
		{ NULL, 18, 2, "canary", DEADLINE_MS - 1, false },
		{ NULL, 18, 2, "", DEADLINE_MS - 1, false },
		{ NULL, 18, 2, NULL, DEADLINE_MS - 1, true },
		{ NULL, 18, 2, NULL, 0, false },
		{ NULL, 18, 2, NULL, -1, false },
		{ NULL, 18, 2, NULL, -1000, true },
		{ "https://a/1", 18, 2, NULL, -1000, false },
		{ "https://a/1", 18, 2, NULL, -1000, true },
		{ "https://a/2", 18, 2, NULL, -1000, false },
		{ NULL, 18, 2, NULL, -1000, false },
	};
	struct release release = { 0 };
	struct notice_template *from = NULL;
	char *before = NULL;

	(void)state;
	assert_int_equal(
		manifest_from_columns("1.5.0", 1, "https://h", DIGEST, 1, NULL, &release.manifest, NULL),
		OTA_OK);
	assert_int_equal(notice_template_make(&release, &from), OTA_OK);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct notice_template *fresh = NULL;
		const struct notice *notice = NULL;
		const struct notice *alone = NULL;

		assert_int_equal(notice_render(from, rows[i].url, rows[i].rollout, rows[i].attempt,
							 rows[i].stage, rows[i].deadline_ms, &notice),
			OTA_OK);
		assert_int_equal(notice_template_make(&release, &fresh), OTA_OK);
		assert_int_equal(notice_render(fresh, rows[i].url, rows[i].rollout, rows[i].attempt,
							 rows[i].stage, rows[i].deadline_ms, &alone),
			OTA_OK);
		assert_string_equal(notice->payload, alone->payload);
		assert_int_equal(notice->length, alone->length);
		assert_true(notice_digest_equal(&notice->digest, &alone->digest));
		if (before != NULL) {
			assert_int_equal(strcmp(before, notice->payload) == 0, rows[i].same);
		}
		free(before);
		before = strdup(notice->payload);
		notice_template_free(fresh);
	}
	free(before);
	manifest_free(release.manifest);
	notice_template_free(from);
}

static void notices_that_are_too_large_are_not_made(void **state)
{
	static char large[NOTICE_PAYLOAD_MAX + 1];
	struct release release = { .envelope = large };
	struct notice_template *from = NULL;
	const struct notice *notice = NULL;

	(void)state;
	memset(large, ' ', sizeof(large) - 1);
	assert_int_equal(
		manifest_from_columns("1.5.0", 1, "https://h", DIGEST, 1, NULL, &release.manifest, NULL),
		OTA_OK);
	assert_int_equal(notice_template_make(&release, &from), OTA_OK);
	assert_int_equal(notice_render(from, NULL, 1, 1, "s", 0, &notice), OTA_ERR_FULL);
	assert_null(notice);
	manifest_free(release.manifest);
	notice_template_free(from);
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
		cmocka_unit_test(same_notices_are_made_once),
		cmocka_unit_test(recalls),
		cmocka_unit_test(digests_are_sha256),
		cmocka_unit_test(every_byte_counts),
	};

	return cmocka_run_group_tests_name("notice", tests, NULL, NULL);
}
