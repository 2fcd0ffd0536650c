/*
 * set - a hash set of pointers for what there is one of for each device: 11 to 21 bytes an entry.
 *
 * uthash's handle inside an entry and its table take 60 for the same.  Open addressing: a probe goes to the next place until it meets an
 * empty one.  The set grows at three quarters, to twice the size, and never shrinks before set_clear().
 * Thread: the caller's.  The set owns its table, the items are the caller's.  An all-zero set is empty and ready.  Where strangers choose
 * the keys, hash them with keyhash().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

struct set {
	void **places; /* NULL: free; `size` of them */
	size_t size;   /* a power of two, or 0 */
	size_t count;
};

/* The hash of an item's key; stays the same while the item is in a set. */
typedef uint64_t set_hash(const void *item);
/* Is this the key of the item? */
typedef bool set_is(const void *item, const void *key);

/* Frees the table; the set is empty and can be used again. */
void set_clear(struct set *set);
/* The item with this key, of which `hash` is the hash; NULL: none. */
void *set_find(const struct set *set, uint64_t hash, set_is *is, const void *key);
/* Add an item whose key is in no item of the set.  OTA_ERR_NOMEM: nothing has changed. */
OTA_MUST_USE enum ota_err set_add(struct set *set, set_hash *hash, void *item);
/* Remove this very item; nothing when it is not there. */
void set_remove(struct set *set, set_hash *hash, const void *item);
/* The items one after the other, in no order: *at begins as 0; NULL: no more.  The set may not change meanwhile. */
void *set_next(const struct set *set, size_t *at);
