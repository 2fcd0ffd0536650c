/* A request for a block, and the header of its answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/block.h"
#include "ota/wire/json.h"

#define LOWER "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UPPER "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF"

static void good_requests(void **state)
{
	static const struct {
		const char *text;
		int64_t offset, length;
	} cases[] = {
		{ "{\"sha256\":\"" LOWER "\",\"offset\":0,\"length\":1}", 0, 1 },
		{ "{\"length\":16384,\"offset\":4096,\"sha256\":\"" UPPER "\",\"more\":[1]}", 4096, 16384 },
		{ "{\"sha256\":\"" LOWER "\",\"offset\":9007199254740991,\"length\":9007199254740991}",
			INT64_C(9007199254740991), INT64_C(9007199254740991) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct block_request request;
		struct ota_why why = { "" };

		if (block_request_parse(cases[i].text, strlen(cases[i].text), &request, &why) != OTA_OK) {
			fail_msg("%s: %s", cases[i].text, why.text);
		}
		assert_string_equal(request.sha256, LOWER);
		assert_true(request.offset == cases[i].offset && request.length == cases[i].length);
	}
}

static void bad_requests(void **state)
{
	static const struct {
		const char *text, *word;
	} cases[] = {
		{ "", "empty" },
		{ "[]", "object" },
		{ "{}", "sha256" },
		{ "{\"sha256\":17,\"offset\":0,\"length\":1}", "sha256" },
		{ "{\"sha256\":\"0123\",\"offset\":0,\"length\":1}", "64 hexadecimal digits" },
		{ "{\"sha256\":\"x" LOWER "\",\"offset\":0,\"length\":1}", "64 hexadecimal digits" },
		{ "{\"sha256\":\"" LOWER "\",\"length\":1}", "offset is missing" },
		{ "{\"sha256\":\"" LOWER "\",\"offset\":0}", "length is missing" },
		{ "{\"sha256\":\"" LOWER "\",\"offset\":-1,\"length\":1}", "offset" },
		{ "{\"sha256\":\"" LOWER "\",\"offset\":\"0\",\"length\":1}", "offset" },
		{ "{\"sha256\":\"" LOWER "\",\"offset\":0,\"length\":0}", "length" },
		{ "{\"sha256\":\"" LOWER "\",\"offset\":0,\"length\":1.5}", "length" },
		{ "{\"sha256\":\"" LOWER "\",\"offset\":0,\"length\":9007199254740992}", "length" },
		{ "{\"sha256\":\"" LOWER "\",\"offset\":0,\"offset\":1,\"length\":1}", "offset" },
		{ "{\"sha256\":\"" LOWER "\",\"offset\":0,\"length\":1} x", "" },
	};
	char large[BLOCK_REQUEST_MAX + 2];
	struct block_request request;
	struct ota_why why = { "" };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		why.text[0] = '\0';
		assert_int_equal(block_request_parse(cases[i].text, strlen(cases[i].text), &request, &why),
			OTA_ERR_INVALID);
		if (why.text[0] == '\0' || strstr(why.text, cases[i].word) == NULL) {
			fail_msg("%s: %s", cases[i].text, why.text);
		}
	}
	assert_int_equal(block_request_parse(NULL, 0, &request, &why), OTA_ERR_INVALID);
	memset(large, ' ', sizeof(large));
	assert_int_equal(block_request_parse(large, sizeof(large), &request, &why), OTA_ERR_INVALID);
	assert_non_null(strstr(why.text, "at most 512"));
}

static void header(void **state)
{
	static const uint8_t expected[BLOCK_HEADER] = { 1, 4, 0x01, 0x02, 0x00, 0x00, 0x40, 0x00, 0x00,
		0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05 };
	const struct block_header header = {
		.status = BLOCK_LATER, .retry_after = 258, .length = 16384, .offset = UINT64_C(0x0102030405)
	};
	uint8_t out[BLOCK_HEADER];

	(void)state;
	block_header_write(&header, out);
	assert_memory_equal(out, expected, sizeof(out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_requests),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
