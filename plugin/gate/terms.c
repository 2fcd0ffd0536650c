#include "ota/gate/terms.h"

#include <stdlib.h>
#include <string.h>

#include "ota/base/keyhash.h"
#include "ota/wire/change.h"

enum {
	TEXTS = 6
};

static uint64_t hash_terms(const void *item)
{
	const struct terms *terms = item;

	return keyhash(terms->text, terms->length) ^ (uint64_t)terms->sequence;
}

static bool is_terms(const void *item, const void *key)
{
	const struct terms *terms = item;
	const struct terms *other = key;

	return terms->sequence == other->sequence && terms->length == other->length
		&& memcmp(terms->text, other->text, terms->length) == 0;
}

/* Each text behind a byte that says whether there is one: an empty text is not the same as none. */
static struct terms *make(const struct change *offer, const char *topic)
{
	const char *const texts[TEXTS] = { offer->stage, offer->fleet, offer->hardware, offer->version,
		offer->via, topic };
	size_t length = 0;
	struct terms *terms;
	char *at;

	for (size_t i = 0; i < TEXTS; i++) {
		length += 1 + (texts[i] == NULL ? 0 : strlen(texts[i]) + 1);
	}
	terms = calloc(1, sizeof(*terms) + length);
	if (terms == NULL) {
		return NULL;
	}
	const char **const places[TEXTS] = { &terms->stage, &terms->fleet, &terms->hardware,
		&terms->version, &terms->via, &terms->topic };

	terms->sequence = offer->sequence;
	terms->length = length;
	at = terms->text;
	for (size_t i = 0; i < TEXTS; i++) {
		*at++ = texts[i] != NULL;
		if (texts[i] != NULL) {
			size_t size = strlen(texts[i]) + 1;

			memcpy(at, texts[i], size);
			*places[i] = at;
			at += size;
		}
	}
	return terms;
}

static bool same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool fit(const struct terms *terms, const struct change *offer, const char *topic)
{
	return terms->sequence == offer->sequence && same(terms->stage, offer->stage)
		&& same(terms->fleet, offer->fleet) && same(terms->hardware, offer->hardware)
		&& same(terms->version, offer->version) && same(terms->via, offer->via)
		&& same(terms->topic, topic);
}

struct terms *terms_hold(struct terms_set *set, const struct change *offer, const char *topic)
{
	struct terms *made;
	struct terms *known;

	/* To make and to hash them for each of a stage's devices is the most expensive of all that is done for one. */
	if (set->last != NULL && fit(set->last, offer, topic)) {
		set->last->uses++;
		return set->last;
	}
	made = make(offer, topic);
	if (made == NULL) {
		return NULL;
	}
	known = set_find(&set->all, hash_terms(made), is_terms, made);
	if (known != NULL) {
		free(made);
		known->uses++;
		set->last = known;
		return known;
	}
	if (set_add(&set->all, hash_terms, made) != OTA_OK) {
		free(made);
		return NULL;
	}
	made->uses = 1;
	set->last = made;
	return made;
}

void terms_release(struct terms_set *set, struct terms *terms)
{
	if (terms == NULL || --terms->uses > 0) {
		return;
	}
	if (set->last == terms) {
		set->last = NULL;
	}
	set_remove(&set->all, hash_terms, terms);
	free(terms);
}

void terms_clear(struct terms_set *set)
{
	set_clear(&set->all);
	set->last = NULL;
}
