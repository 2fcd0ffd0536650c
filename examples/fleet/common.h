/*
 * common - clock, hashes, text encodings and shared strings of the simulated fleet.
 *
 * Thread: the fleet's only thread.  Ownership: allocated results belong to the caller, interned
 * strings to their pool.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	COMMON_TIME_SIZE = 32,
	COMMON_SHA256_SIZE = 32,
	COMMON_SHA256_HEX_SIZE = 65
};

/* Strings that live as long as the fleet: ten thousand devices share a few version texts. */
struct name_pool {
	char **names;
	size_t count;
	size_t room;
};

/* Allocate `count` zeroed elements, or end the program: a simulator has nothing to fall back to. */
void *common_alloc(size_t count, size_t size);

/* Milliseconds of a clock that never goes back. */
uint64_t common_now_ms(void);

/* What an errno value means, never NULL; a string that is never freed. */
const char *common_error_text(int error);

/* Milliseconds of the wall clock, since 1970. */
uint64_t common_wall_ms(void);

/* Write the wall clock, or `wall_ms` of it, as RFC 3339 in UTC with milliseconds. */
void common_format_time(char *out, size_t size);
void common_format_moment(uint64_t wall_ms, char *out, size_t size);

/* Hash `salt` and `text` (FNV-1a with a 64-bit finaliser), the same on every machine and run. */
uint64_t common_hash(uint64_t seed, const char *salt, const char *text);

/* Next number of a small generator (splitmix64), for delays only. */
uint64_t common_random(uint64_t *state);

/*
 * Read a percentage with at most one decimal ("5", "0.5", "100"; a "%" may follow) as permille.
 * Returns what follows it in `text`, NULL when it is none or is above 100.
 */
const char *common_parse_permille(const char *text, uint32_t *permille)
	__attribute__((warn_unused_result));

/* Decode exactly `size` bytes of hex in either case; false for any other text. */
bool common_decode_hex(const char *text, unsigned char *out, size_t size)
	__attribute__((warn_unused_result));

/* Write 2 * size hex digits and a terminating zero. */
void common_encode_hex(const unsigned char *data, size_t size, char *out);

/*
 * Decode standard or URL-safe base64 with or without padding.  NULL for anything else; the caller
 * frees the result.
 */
unsigned char *common_decode_base64(const char *text, size_t *size)
	__attribute__((warn_unused_result));

/* Return the pool's own copy of `text`; equal texts give the same pointer. */
const char *common_intern(struct name_pool *pool, const char *text);

/* Free the pool and every name it gave out. */
void common_free_names(struct name_pool *pool);

/* A new string from `format` with {device} and {fleet} replaced.  The caller frees it. */
char *common_expand(const char *format, const char *device, const char *fleet);
