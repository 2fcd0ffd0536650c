/*
 * pg_array - an array parameter for PostgreSQL, built as its text form: {"a",NULL,"b"}.
 *
 * Thread: the caller's.  The memory is kept from batch to batch; free it with pg_array_free().
 * Source: PostgreSQL documentation, 8.15.6 Array Input and Output Syntax.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

struct pg_array {
	char *text;
	size_t length;
	size_t capacity;
	size_t count;
	bool failed; /* out of memory: pg_array_end() gives NULL */
};

/* Empty it, keeping its memory. */
void pg_array_begin(struct pg_array *array);
/* Append an element; NULL: null. */
void pg_array_text(struct pg_array *array, const char *value);
void pg_array_int(struct pg_array *array, int64_t value);
/* Append `value`, or null when it equals `none`. */
void pg_array_int_or_null(struct pg_array *array, int64_t value, int64_t none);
/* -1: null, 0: false, 1: true. */
void pg_array_bool(struct pg_array *array, int value);
/* Close it and give the text, which belongs to the array; NULL: out of memory somewhere on the way. */
OTA_MUST_USE const char *pg_array_end(struct pg_array *array);
void pg_array_free(struct pg_array *array);
