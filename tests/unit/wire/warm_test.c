/* Records of the warm start: written, read, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/warm.h"

static const struct warm_record claim = { .kind = WARM_CLAIM,
	.id = 17,
	.release_id = 7,
	.attempt = 2,
	.sequence = -1,
	.at_ms = 1800000000000,
	.device = "d1",
	.fleet = "",
	.hardware = "hw1",
	.version = "1.0.0" };

static uint8_t *encode(const struct warm_record *record, size_t *length)
{
	uint8_t *bytes = malloc(warm_size(record));

	assert_non_null(bytes);
	*length = warm_size(record);
	warm_encode(record, bytes);
	return bytes;
}

static void test_back_and_forth(void **state)
{
	struct warm_record found;
	size_t length;
	uint8_t *bytes = encode(&claim, &length);
	(void)state;

	assert_int_equal(warm_decode(bytes, length, &found), OTA_OK);
	assert_int_equal(found.kind, WARM_CLAIM);
	assert_int_equal(found.id, 17);
	assert_int_equal(found.attempt, 2);
	assert_int_equal(found.sequence, -1);
	assert_int_equal(found.at_ms, 1800000000000);
	assert_string_equal(found.device, "d1");
	assert_string_equal(found.fleet, "");
	assert_string_equal(found.hardware, "hw1");
	assert_null(found.topic);
	assert_null(found.via);
	assert_false(found.gone);
	/* Whatever is missing at the end, or is there too much. */
	for (size_t cut = 0; cut < length; cut++) {
		uint8_t *copy = malloc(cut + 1);

		assert_non_null(copy);
		memcpy(copy, bytes, cut);
		assert_int_equal(warm_decode(copy, cut, &found), OTA_ERR_INVALID);
		free(copy);
	}
	bytes = realloc(bytes, length + 1);
	assert_non_null(bytes);
	bytes[length] = 0;
	assert_int_equal(warm_decode(bytes, length + 1, &found), OTA_ERR_INVALID);
	free(bytes);
}

static void test_incomplete(void **state)
{
	static const struct {
		struct warm_record record;
		bool good;
	} cases[] = {
		{ { .kind = WARM_OWNER, .device = "b", .topic = "here" }, true },
		{ { .kind = WARM_OWNER, .device = "b" }, false },
		{ { .kind = WARM_OWNER, .gone = true, .device = "b", .topic = "here" }, false },
		{ { .kind = WARM_CONTACT, .at_ms = 1 }, true },
		{ { .kind = WARM_CONTACT }, false },
		{ { .kind = WARM_GATEWAYS, .text = "" }, true },
		{ { .kind = WARM_GATEWAYS }, false },
		{ { .kind = WARM_URLS, .text = "" }, true },
		{ { .kind = WARM_URLS }, false },
		{ { .kind = WARM_RELEASE, .id = 1, .gone = true }, true },
		{ { .kind = WARM_RELEASE, .id = 1 }, false },
		{ { .kind = WARM_RELEASE, .id = 1, .version = "1", .url = "u", .sha256 = "s" }, true },
		{ { .kind = WARM_RELEASE, .version = "1", .url = "u", .sha256 = "s" }, false },
		{ { .kind = WARM_ROLLOUT, .id = 1, .live = true }, true },
		{ { .kind = WARM_ROLLOUT, .id = 1, .at_ms = -1 }, false },
		{ { .kind = WARM_ROLLOUT }, false },
		{ { .kind = WARM_CLAIM, .device = "d1", .gone = true }, true },
		{ { .kind = WARM_CLAIM, .device = "a/b", .gone = true }, false },
		{ { .kind = WARM_CLAIM, .gone = true }, false },
		{ { .kind = WARM_CLAIM, .device = "d1", .id = 1, .release_id = 1, .attempt = 1 }, false },
		{ { .kind = WARM_CLAIM,
			  .device = "d1",
			  .fleet = "f",
			  .id = 1,
			  .release_id = 1,
			  .attempt = 1 },
			true },
		{ { .kind = WARM_CLAIM, .device = "d1", .fleet = "f", .id = 1, .release_id = 1 }, false },
		{ { .kind = WARM_CLAIM,
			  .device = "d1",
			  .fleet = "f",
			  .id = 1,
			  .release_id = 1,
			  .attempt = (int64_t)INT32_MAX + 1 },
			false },
		{ { .kind = WARM_KIND_MAX + 1, .device = "d1" }, false },
		{ { .kind = 0, .device = "d1" }, false },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct warm_record found;
		size_t length;
		uint8_t *bytes = encode(&cases[i].record, &length);

		if ((warm_decode(bytes, length, &found) == OTA_OK) != cases[i].good) {
			fail_msg("case %zu", i);
		}
		free(bytes);
	}
}

static void test_broken_bytes(void **state)
{
	struct warm_record found;
	size_t length;
	uint8_t *bytes = encode(&claim, &length);
	(void)state;

	bytes[1] |= 4; /* an unknown flag */
	assert_int_equal(warm_decode(bytes, length, &found), OTA_ERR_INVALID);
	bytes[1] = 0;
	bytes[3] |= 0x80; /* an unknown string */
	assert_int_equal(warm_decode(bytes, length, &found), OTA_ERR_INVALID);
	bytes[3] &= 0x7f;
	assert_int_equal(warm_decode(bytes, length, &found), OTA_OK);
	bytes[length - 2] = 0xff; /* not UTF-8 */
	assert_int_equal(warm_decode(bytes, length, &found), OTA_ERR_INVALID);
	bytes[length - 2] = 0; /* a zero byte inside */
	assert_int_equal(warm_decode(bytes, length, &found), OTA_ERR_INVALID);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_back_and_forth),
		cmocka_unit_test(test_incomplete),
		cmocka_unit_test(test_broken_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
