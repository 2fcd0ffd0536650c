/*
 * pg_binary - an array parameter for PostgreSQL in its binary form, which neither side has to quote, escape or read digit by digit.
 *
 * One dimension, one type, in the order of appending.  The type must be exactly that of the function's parameter: the server does not
 * convert.  For arrays of a few elements see pg_array.h.
 * Thread: the caller's.  The memory is kept from batch to batch; free it with pg_binary_free().
 * Source: array_recv() and the *recv() functions of PostgreSQL; the numbers of the types are those of pg_type.dat, which never change.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

enum pg_binary_type {
	PG_BINARY_BOOL = 16,
	PG_BINARY_BYTEA = 17,
	PG_BINARY_BIGINT = 20,
	PG_BINARY_INTEGER = 23,
	PG_BINARY_TEXT = 25
};

struct pg_binary {
	char *bytes;
	size_t length;
	size_t capacity;
	int32_t count;
	enum pg_binary_type type;
	bool nulls;
	bool failed; /* out of memory, or too large: pg_binary_end() gives NULL */
};

/* Empty it, keeping its memory. */
void pg_binary_begin(struct pg_binary *array, enum pg_binary_type type);

/* Append an element of an array of any type. */
void pg_binary_null(struct pg_binary *array);
/* TEXT: UTF-8, NULL is null. */
void pg_binary_text(struct pg_binary *array, const char *value);
/* TEXT and BYTEA. */
void pg_binary_bytes(struct pg_binary *array, const void *value, size_t length);
/* BIGINT and INTEGER; what does not fit into an INTEGER is the caller's mistake. */
void pg_binary_int(struct pg_binary *array, int64_t value);
/* The same, or null when it equals `none`. */
void pg_binary_int_or_null(struct pg_binary *array, int64_t value, int64_t none);
/* BOOL: -1 null, 0 false, 1 true. */
void pg_binary_bool(struct pg_binary *array, int value);

/*
 * TEXT, of a length that is not known before: room for `most` bytes, to be filled and then closed with the length in use.  NULL: no
 * memory, and nothing is to be closed.
 */
OTA_MUST_USE char *pg_binary_open(struct pg_binary *array, size_t most);
void pg_binary_close(struct pg_binary *array, size_t length);

/* Finish it and give its bytes, which belong to the array, and how many; NULL: out of memory somewhere on the way. */
OTA_MUST_USE const char *pg_binary_end(struct pg_binary *array, int *length);

/* Read it again: the element at `*at`, 0 for the first, which moves to the next one; *value NULL: null. */
void pg_binary_next(const struct pg_binary *array, size_t *at, const char **value, size_t *length);
/* The same of an element of 8 bytes; null: `none`. */
int64_t pg_binary_next_int(const struct pg_binary *array, size_t *at, int64_t none);

void pg_binary_free(struct pg_binary *array);
