/*
 * keyhash - where a name stands in a table, when strangers choose the names.
 *
 * SipHash-1-3 (https://www.aumasson.jp/siphash/, J.-P. Aumasson and D. J. Bernstein) with a key drawn at the start of the process:
 * nobody can choose client ids that share a place, to see others forgotten or tables slow.
 * Thread: any.  Owns nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The hash of `length` bytes with this process's key; it means nothing in another process.  `data` may be NULL when `length` is 0. */
uint64_t keyhash(const void *data, size_t length);

/* The same with a key of the caller's: two words of eight bytes, as they are in memory on a little-endian machine. */
uint64_t keyhash_with(const uint64_t key[2], const void *data, size_t length);

/*
 * Where an address stands in a table: a tenth of keyhash()'s price.  Two multiplications with secret numbers are enough, because strangers
 * do not choose where the allocator puts something.
 */
uint64_t keyhash_address(const void *address);
