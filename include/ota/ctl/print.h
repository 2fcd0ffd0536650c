/*
 * print - what the broker says, for people: tables, fields, colours on a terminal only.
 *
 * Texts of devices are not trusted: control characters, with which a terminal could be steered, become '?'.
 * Thread: main.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

enum {
	PRINT_CELL_SIZE = 256
};

/* May output be coloured and redrawn?  Standard output is a terminal; for colours NO_COLOR must not be set. */
bool print_terminal(void);

/* A value as one line of safe text, times cut to seconds; returns `out`. */
const char *print_cell(const cJSON *value, char out[PRINT_CELL_SIZE]);

/* A member of an answer; 0 and "" when it is absent or of another kind. */
int64_t member_number(const cJSON *object, const char *name);
const char *member_text(const cJSON *object, const char *name);

/* Characters of UTF-8 text, which is what a terminal shows as columns for nearly all names. */
size_t print_width(const char *text);

/* Cut the text, between characters, to so many columns. */
void print_clip(char *text, size_t columns);

/* The escape sequence that begins the colour of a state such as "halted"; "" without colours. */
const char *print_state_colour(const char *state);
const char *print_colour_end(void);

/*
 * A list of objects as an aligned table.  `columns`: "member" or "HEAD=member", separated by blanks; NULL: the members of the
 * first row.  Prints `none` alone when the list is empty.
 */
void print_table(const cJSON *list, const char *columns, const char *none);

/* An object: its fields one a line, then its lists as tables. */
void print_object(const cJSON *object);

/* Write a sentence with {member} replaced by the value in `first`, else in `second`. */
void print_sentence(const char *sentence, const cJSON *first, const cJSON *second);

/* JSON, on one line or indented. */
void print_json(const cJSON *value, bool line);
