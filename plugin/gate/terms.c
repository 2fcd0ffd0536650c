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

struct terms *terms_hold(struct set *set, const struct change *offer, const char *topic)
{
	struct terms *made = make(offer, topic);
	struct terms *known;

	if (made == NULL) {
		return NULL;
	}
	known = set_find(set, hash_terms(made), is_terms, made);
	if (known != NULL) {
		free(made);
		known->uses++;
		return known;
	}
	if (set_add(set, hash_terms, made) != OTA_OK) {
		free(made);
		return NULL;
	}
	made->uses = 1;
	return made;
}

void terms_release(struct set *set, struct terms *terms)
{
	if (terms == NULL || --terms->uses > 0) {
		return;
	}
	set_remove(set, hash_terms, terms);
	free(terms);
}
