/*
 * Fuzz target: the file of url credentials.
 * Properties: no crash; a refusal has a reason; what is accepted is complete, found by its name, and can sign.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/credentials.h"
#include "ota/wire/presign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds, const char *what)
{
	if (!holds) {
		(void)fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credentials *found = NULL;
	struct ota_why why = { "" };

	if (credentials_parse((const char *)data, size, &found, &why) != OTA_OK) {
		must(why.text[0] != '\0', "a refusal has a reason");
		return 0;
	}
	must(found->count >= 1 && found->count <= CREDENTIALS_MAX, "as many as there may be");
	for (size_t i = 0; i < found->count; i++) {
		const struct credential *one = &found->items[i];
		struct presign_day day = { 0 };
		char query[PRESIGN_QUERY_MAX];

		must(credentials_find(found, one->name) == one, "found by its name, which is there once");
		must(one->key_id[0] && one->secret[0] && one->region[0], "complete");
		must(presign_query(one, &day, "h", "/a", 0, 60, query) == OTA_OK, "can sign");
		must(strlen(query) < sizeof(query) && !strpbrk(query, " \t\r\n\"\\#"), "is a query");
	}
	credentials_free(found);
	return 0;
}
