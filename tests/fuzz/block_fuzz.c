/*
 * Fuzz target: a device's request for a block.
 * Properties: no crash; a refusal has a reason; what is accepted is in its range, and is the same when it is written and read again.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/block.h"
#include "ota/wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (!holds) {
		(void)fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

static void check(const struct block_request *request)
{
	struct block_request again = { { 0 }, 0, 0 };
	struct ota_why why = { "" };
	char text[BLOCK_REQUEST_MAX];
	int length;

	must(strlen(request->sha256) == BLOCK_SHA256 - 1
			&& strspn(request->sha256, "0123456789abcdef") == BLOCK_SHA256 - 1,
		"the digest is one, in lower case");
	must(request->offset >= 0 && request->offset <= JSON_INTEGER_MAX, "the offset is one");
	must(request->length >= 1 && request->length <= JSON_INTEGER_MAX, "the length is one");
	length = snprintf(text, sizeof(text), "{\"sha256\":\"%s\",\"offset\":%lld,\"length\":%lld}",
		request->sha256, (long long)request->offset, (long long)request->length);
	must(length > 0 && block_request_parse(text, (size_t)length, &again, &why) == OTA_OK,
		"what was read can be written");
	must(memcmp(&again, request, sizeof(again)) == 0, "and is the same then");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct block_request request;
	struct ota_why why = { "" };

	memset(&request, 0, sizeof(request));
	if (block_request_parse((const char *)data, size, &request, &why) == OTA_OK) {
		check(&request);
	} else {
		must(why.text[0] != '\0', "a refusal has a reason");
	}
	return 0;
}
