/* The hash of an audit row: what docs/design/audit.md says, worked out here from plain texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/sha.h>

#include "ota/wire/audit.h"

#define TEXT(t)          \
	{                    \
		t, sizeof(t) - 1 \
	}

/* SHA-256 over the hash before and these words. */
static void expect(struct audit_hasher *hasher, const struct audit_row *row, const char *words)
{
	uint8_t before[AUDIT_HASH_BYTES];
	uint8_t found[AUDIT_HASH_BYTES];
	uint8_t wanted[AUDIT_HASH_BYTES];
	uint8_t bytes[1024];

	for (size_t i = 0; i < sizeof(before); i++) {
		before[i] = found[i] = (uint8_t)(i * 7);
	}
	memcpy(bytes, before, sizeof(before));
	memcpy(bytes + sizeof(before), words, strlen(words));
	(void)SHA256(bytes, sizeof(before) + strlen(words), wanted);
	assert_int_equal(audit_hash(hasher, row, found), OTA_OK);
	assert_memory_equal(found, wanted, sizeof(wanted));
}

static void rows(void **state)
{
	struct audit_hasher *hasher = audit_hasher_new();
	const struct audit_row full = { .position = 12,
		.event_id = 345,
		.at_us = INT64_C(1769825404123000),
		.rollout = 7,
		.broker = TEXT("broker-1"),
		.device = TEXT("ger\xc3\xa4t"),
		.kind = TEXT("status"),
		.detail = TEXT("{\"a\": 1}") };
	const struct audit_row bare = { .position = 1,
		.event_id = INT64_MAX,
		.at_us = INT64_MIN,
		.kind = TEXT("k"),
		.detail = TEXT("{}") };
	const struct audit_row empty = { .position = 2,
		.event_id = 3,
		.at_us = 0,
		.broker = TEXT(""),
		.device = TEXT(""),
		.kind = TEXT(""),
		.detail = TEXT("") };

	(void)state;
	assert_non_null(hasher);
	expect(hasher, &full,
		"ota1 12 345 1769825404123000 7 8 6 6\nbroker-1ger\xc3\xa4tstatus{\"a\": 1}");
	expect(hasher, &bare, "ota1 1 9223372036854775807 -9223372036854775808 - - - 1\nk{}");
	expect(hasher, &empty, "ota1 2 3 0 - 0 0 0\n");
	/* The hasher keeps nothing of the row before. */
	expect(hasher, &full,
		"ota1 12 345 1769825404123000 7 8 6 6\nbroker-1ger\xc3\xa4tstatus{\"a\": 1}");
	audit_hasher_free(hasher);
	audit_hasher_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
