#include "ota/base/set.h"

#include <stdint.h>
#include <stdlib.h>

enum {
	SET_SMALLEST = 16
};

void set_clear(struct set *set)
{
	free(set->places);
	*set = (struct set){ 0 };
}

void *set_find(const struct set *set, uint64_t hash, set_is *is, const void *key)
{
	size_t mask = set->size - 1;

	if (set->count == 0) {
		return NULL;
	}
	/* It ends: a quarter of the places is free. */
	for (size_t at = hash & mask; set->places[at] != NULL; at = (at + 1) & mask) {
		if (is(set->places[at], key)) {
			return set->places[at];
		}
	}
	return NULL;
}

static void put(void **places, size_t mask, uint64_t hash, void *item)
{
	size_t at = hash & mask;

	while (places[at] != NULL) {
		at = (at + 1) & mask;
	}
	places[at] = item;
}

static enum ota_err grow(struct set *set, set_hash *hash)
{
	size_t size = set->size == 0 ? SET_SMALLEST : set->size * 2;
	void **places = size > SIZE_MAX / sizeof(*places) / 2 ? NULL : calloc(size, sizeof(*places));

	if (places == NULL) {
		return OTA_ERR_NOMEM;
	}
	for (size_t i = 0; i < set->size; i++) {
		if (set->places[i] != NULL) {
			put(places, size - 1, hash(set->places[i]), set->places[i]);
		}
	}
	free(set->places);
	set->places = places;
	set->size = size;
	return OTA_OK;
}

enum ota_err set_add(struct set *set, set_hash *hash, void *item)
{
	if (set->count + 1 > set->size / 4 * 3 && grow(set, hash) != OTA_OK) {
		return OTA_ERR_NOMEM;
	}
	put(set->places, set->size - 1, hash(item), item);
	set->count++;
	return OTA_OK;
}

void set_remove(struct set *set, set_hash *hash, const void *item)
{
	size_t mask = set->size - 1;
	size_t hole;

	if (set->count == 0) {
		return;
	}
	hole = hash(item) & mask;
	while (set->places[hole] != item) {
		if (set->places[hole] == NULL) {
			return;
		}
		hole = (hole + 1) & mask;
	}
	/* Those behind it move up, unless their way does not lead through the hole. */
	for (size_t at = (hole + 1) & mask; set->places[at] != NULL; at = (at + 1) & mask) {
		size_t home = hash(set->places[at]) & mask;

		if (((at - home) & mask) >= ((at - hole) & mask)) {
			set->places[hole] = set->places[at];
			hole = at;
		}
	}
	set->places[hole] = NULL;
	set->count--;
}

void *set_next(const struct set *set, size_t *at)
{
	while (*at < set->size) {
		void *item = set->places[(*at)++];

		if (item != NULL) {
			return item;
		}
	}
	return NULL;
}
