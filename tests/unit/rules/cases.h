/*
 * cases - read the data-driven case files of tests/unit/cases: words between blanks, comments from # on.
 *
 * One file is open at a time; the words belong to the reader and live until the next line is read.
 */
#pragma once

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
	CASES_WORDS_MAX = 128,
	CASES_LINE_MAX = 1024
};

struct cases {
	FILE *file;
	int line;   /* number of the line that was read last */
	int number; /* lines with words so far */
	int count;  /* words of this line */
	char *word[CASES_WORDS_MAX];
	char text[CASES_LINE_MAX];
};

static inline void cases_open(struct cases *cases, const char *name)
{
	char path[512];

	memset(cases, 0, sizeof(*cases));
	(void)snprintf(path, sizeof(path), "%s/%s", OTA_CASES_DIR, name);
	cases->file = fopen(path, "r");
	if (!cases->file) {
		fail_msg("%s cannot be opened", path);
	}
}

static inline void cases_split(struct cases *cases)
{
	char *at = cases->text;

	cases->text[strcspn(cases->text, "#\n")] = '\0';
	cases->count = 0;
	for (;;) {
		at += strspn(at, " \t");
		if (*at == '\0') {
			return;
		}
		assert_true(cases->count < CASES_WORDS_MAX);
		cases->word[cases->count++] = at;
		at += strcspn(at, " \t");
		if (*at != '\0') {
			*at++ = '\0';
		}
	}
}

/* The next line that has words.  At the end of the file false, and the file is closed; an empty file fails. */
static inline bool cases_next(struct cases *cases)
{
	while (fgets(cases->text, (int)sizeof(cases->text), cases->file)) {
		cases->line++;
		if (!strchr(cases->text, '\n')) {
			fail_msg("line %d is too long or not ended", cases->line);
		}
		cases_split(cases);
		if (cases->count > 0) {
			cases->number++;
			return true;
		}
	}
	(void)fclose(cases->file);
	assert_true(cases->number > 0);
	return false;
}

static inline int64_t cases_number(const struct cases *cases, const char *word)
{
	char *end = NULL;
	intmax_t value;

	errno = 0;
	value = strtoimax(word, &end, 10);
	if (errno != 0 || end == word || *end != '\0') {
		fail_msg("line %d: \"%s\" is not a number", cases->line, word);
	}
	return (int64_t)value;
}

/* "-" stands for nothing. */
static inline const char *cases_text(const char *word)
{
	return strcmp(word, "-") == 0 ? NULL : word;
}
