/* The text of a jsonb value: the cases that the database is asked for too, and what no file of lines can hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/jsonb.h"

/* jsonb_text() in memory of exactly the size that it asks for; the text is the caller's, NULL: not certain. */
static char *text_of(const char *json, size_t length)
{
	char *in = malloc(length > 0 ? length : 1);
	char *out = malloc(jsonb_room(length) + 1);
	size_t used;

	assert_non_null(in);
	assert_non_null(out);
	memcpy(in, json, length);
	used = jsonb_text(in, length, out);
	free(in);
	assert_true(used <= 2 * length);
	out[used] = '\0';
	if (used == 0) {
		free(out);
		return NULL;
	}
	return out;
}

static void cases(void **state)
{
	FILE *file = fopen(OTA_CASES_DIR "/jsonb.cases", "r");
	char line[1024];
	int certain = 0;
	int uncertain = 0;

	(void)state;
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		char *wanted = strrchr(line, '\t');
		char *found;

		if (line[0] == '#') {
			continue;
		}
		assert_non_null(wanted);
		*wanted++ = '\0';
		wanted[strcspn(wanted, "\n")] = '\0';
		found = text_of(line, strlen(line));
		if (strcmp(wanted, "?") == 0) {
			if (found) {
				fail_msg("%s: %s", line, found);
			}
			uncertain++;
		} else {
			if (!found) {
				fail_msg("%s: not certain", line);
			}
			assert_string_equal(found, wanted);
			certain++;
		}
		free(found);
	}
	assert_int_equal(fclose(file), 0);
	assert_true(certain > 20 && uncertain > 30);
}

/* An object of so many members, the last one first. */
static char *object_of(int members)
{
	const size_t size = (size_t)members * 16 + 3;
	char *json = malloc(size);
	size_t used = 1;

	assert_non_null(json);
	json[0] = '{';
	for (int i = members; i > 0; i--) {
		used += (size_t)snprintf(
			json + used, size - used, "%s\"k%03d\":%d", i < members ? "," : "", i, i);
	}
	assert_true(used + 2 <= size);
	memcpy(json + used, "}", 2);
	return json;
}

static void many_members(void **state)
{
	char *json = object_of(JSONB_MEMBERS_MAX);
	char *found = text_of(json, strlen(json));

	(void)state;
	assert_non_null(found);
	assert_memory_equal(found, "{\"k001\": 1, \"k002\": 2, ", 23);
	assert_non_null(strstr(found, ", \"k064\": 64}"));
	free(json);
	free(found);
	json = object_of(JSONB_MEMBERS_MAX + 1);
	assert_null(text_of(json, strlen(json)));
	free(json);
}

static void long_numbers(void **state)
{
	char json[300];

	(void)state;
	memset(json, '7', sizeof(json));
	free(text_of(json, 256));
	assert_null(text_of(json, 257));
}

static void control_characters(void **state)
{
	static const char raw[] = { '"', 'a', '\x01', '"' };

	(void)state;
	assert_null(text_of(raw, sizeof(raw)));
	assert_null(text_of("\"a\0\"", 4));
	assert_null(text_of("1\0", 2));
}

/* Cut anywhere, it is read no further than it goes. */
static void cut(void **state)
{
	static const char json[] =
		"{\"b\":[true,null,{\"x\":-1.50}],\"a\":\"t\\n\\/\",\"c\":{\"z\":1,\"y\":[]}}";

	(void)state;
	for (size_t length = 0; length < sizeof(json) - 1; length++) {
		assert_null(text_of(json, length));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cases),
		cmocka_unit_test(many_members),
		cmocka_unit_test(long_numbers),
		cmocka_unit_test(control_characters),
		cmocka_unit_test(cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
