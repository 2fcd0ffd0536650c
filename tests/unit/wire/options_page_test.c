/* docs/options.md has a row for every option, as the table in options.c says it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/options.h"

static char *read_page(void)
{
	FILE *file = fopen(OTA_CASES_DIR "/../../../docs/options.md", "rb");
	char *text = calloc(1, 65536);

	assert_non_null(file);
	assert_non_null(text);
	assert_true(fread(text, 1, 65535, file) > 0);
	assert_int_equal(fclose(file), 0);
	return text;
}

static void row_of(const struct option_doc *doc, char *row, size_t size)
{
	int length;

	if (doc->required) {
		length = snprintf(row, size, "| `%s` | *required* | %s |", doc->name, doc->accepted);
	} else if (doc->fallback[0] == '\0') {
		length = snprintf(row, size, "| `%s` | *(none)* | %s |", doc->name, doc->accepted);
	} else {
		length =
			snprintf(row, size, "| `%s` | `%s` | %s |", doc->name, doc->fallback, doc->accepted);
	}
	assert_true(length > 0 && (size_t)length < size);
}

static void the_page_has_every_option(void **state)
{
	char *page = read_page();
	size_t count = 0;
	const struct option_doc *docs = options_docs(&count);

	(void)state;
	assert_true(count > 0);
	for (size_t i = 0; i < count; i++) {
		char row[512];

		row_of(&docs[i], row, sizeof(row));
		if (!strstr(page, row)) {
			fail_msg("docs/options.md has no row\n%s", row);
		}
	}
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_page_has_every_option) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
