/*
 * jsonb - the text that PostgreSQL gives of a jsonb value, made here of the JSON that went into it.
 *
 * The hash of an audit row covers `detail::text`; who hashes outside the database needs those bytes beforehand.  Only what is
 * certain is done; with whatever else in it (escapes of the kind \u, a number with an exponent, very deep nesting) the database has
 * to be asked.
 * Thread: any; no globals, no allocation.
 * Source: PostgreSQL documentation, 8.14 JSON Types; src/backend/utils/adt/jsonb.c and jsonb_util.c (order of members).
 */
#pragma once

#include <stddef.h>

enum {
	JSONB_DEPTH_MAX = 16,   /* nested objects and arrays */
	JSONB_MEMBERS_MAX = 64, /* of one object */
};

/* How many bytes jsonb_text() needs for `length` bytes of JSON: the text and as much again to sort members in. */
size_t jsonb_room(size_t length);

/*
 * Write the text of the one JSON value in `json`, without a terminator, and return how many bytes it has, at most 2 * `length`.
 * 0: not certain, and `out` is garbage.  That is also the answer to what is no JSON.  `json` must be UTF-8 without U+0000;
 * `out` has jsonb_room(length) bytes.
 */
size_t jsonb_text(const char *json, size_t length, char *out);
