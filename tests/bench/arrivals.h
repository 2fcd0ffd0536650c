/*
 * arrivals - when what was waited for came: the first, the last, and how many in each 10 ms between.
 *
 * Thread: one.  All zero is nothing yet.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "packet.h"

enum {
	ARRIVALS_BINS = 1000, /* the last one takes all that comes later */
	ARRIVALS_BIN_MS = 10,
};

struct arrivals {
	double first; /* of now(); 0: none */
	int64_t count;
	int last_bin;
	int64_t bins[ARRIVALS_BINS];
};

/* So many have come until now. */
static inline void arrivals_note(struct arrivals *arrivals, int64_t count)
{
	if (count == arrivals->count) {
		return;
	}
	arrivals->first = arrivals->first <= 0 ? now() : arrivals->first;
	int bin = (int)((now() - arrivals->first) * 1e3 / ARRIVALS_BIN_MS);

	arrivals->last_bin = bin < ARRIVALS_BINS ? bin : ARRIVALS_BINS - 1;
	arrivals->bins[arrivals->last_bin] += count - arrivals->count;
	arrivals->count = count;
}

/* The rest of a JSON object: "first" and "last", which is now, as times of day. */
static inline void arrivals_print(const struct arrivals *arrivals)
{
	struct timespec wall;

	(void)clock_gettime(CLOCK_REALTIME, &wall);
	const double last = (double)wall.tv_sec + (double)wall.tv_nsec / 1e9;

	printf("\"first\":%.6f,\"last\":%.6f,\"bins\":[",
		arrivals->first <= 0 ? last : last - (now() - arrivals->first), last);
	for (int i = 0; i <= arrivals->last_bin; i++) {
		printf(i == 0 ? "%lld" : ",%lld", (long long)arrivals->bins[i]);
	}
	puts("]}");
}
