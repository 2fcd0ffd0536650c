/*
 * terms - what the notices of many devices have in common: stage, fleet, hardware, version and the rest that the last check asks for.
 *
 * Kept once for all devices that agree in it, and counted, so that an outstanding notice does not hold an offer of its own.
 * Thread: broker.  A set owns its terms.
 */
#pragma once

#include <stdint.h>

#include "ota/base/error.h"
#include "ota/base/set.h"

struct change;

struct terms {
	size_t uses;
	int64_t sequence;
	const char *stage; /* this and the following: inside of `text`, NULL as in the offer */
	const char *fleet;
	const char *hardware;
	const char *version;
	const char *via;
	const char
		*topic; /* that all these devices subscribe to, NULL: one of its own each, or unknown */
	size_t length;
	char text[];
};

struct terms_set {
	struct set all;
	struct terms *last; /* held last: mostly those of the next offer, too; NULL: none */
};

/* The terms of this offer, with one use more; `topic` may be NULL.  NULL: no memory. */
OTA_MUST_USE struct terms *terms_hold(
	struct terms_set *set, const struct change *offer, const char *topic);
/* One use less; the last one frees them.  NULL does nothing. */
void terms_release(struct terms_set *set, struct terms *terms);
/* Frees the table; the terms are gone with their last use. */
void terms_clear(struct terms_set *set);
