/*
 * Fuzz target: the text of a jsonb value.
 * Properties: no crash, nothing behind the room that was asked for; what is certain is bounded, and its own text; and where the text is
 * one that a status report may have, it still says the same.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "ota/wire/json.h"
#include "ota/wire/jsonb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (!holds) {
		(void)fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

static void check_same(const char *json, size_t length, const char *text, size_t used)
{
	struct ota_why why;
	cJSON *before = NULL;
	cJSON *after = NULL;

	if (json_parse_object(json, length, 8, &before, &why)) {
		return;
	}
	must(json_parse_object(text, used, 8, &after, &why) == OTA_OK, "it is JSON still");
	must(cJSON_Compare(before, after, true), "it says the same");
	cJSON_Delete(before);
	cJSON_Delete(after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *json = (const char *)data;
	char *first = malloc(jsonb_room(size));
	size_t used;

	must(first != NULL, "memory");
	used = jsonb_text(json, size, first);
	must(used <= 2 * size, "it is bounded");
	if (used > 0) {
		char *second = malloc(jsonb_room(used));

		must(second != NULL, "memory");
		must(jsonb_text(first, used, second) == used && memcmp(first, second, used) == 0,
			"it is its own text");
		free(second);
		check_same(json, size, first, used);
	}
	free(first);
	return 0;
}
