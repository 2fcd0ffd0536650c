/*
 * told - what each device was told last and has not answered, and the recalls it is owed.
 *
 * Thread: broker.  The tables own their entries.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/base/set.h"
#include "ota/base/table.h"
#include "ota/gate/terms.h"
#include "ota/wire/notice.h"

enum {
	TOLD_RECALLS_MAX = 100000
}; /* recalls remembered; the oldest goes first */

/* The outstanding notice of a device; one for each that was told, so its size counts. */
struct told_notice {
	int64_t rollout;
	int64_t release_id;
	int64_t session;
	int64_t deadline_ms; /* wall clock; 0: none */
	int64_t again_us;    /* when, on the monotonic clock; 0: it does not wait for that */
	struct terms *terms; /* to tell it again, held; NULL: it is not */
	struct told_notice *prev, *next; /* of those that wait */
	struct notice_digest digest;     /* of the payload that was sent, byte for byte */
	int32_t attempt;
	int8_t
		topic; /* with `terms`: the notify topic that has the device in it; -1: see terms->topic */
	/* No copy may be delivered any more; kept so that the same offer is not told again in this session. */
	bool answered : 1;
	bool sent : 1; /* by this process */
	char device[];
};

/* A recall: owed to a device that is away, or sent (kept so that it is sent once, and its queued copy passes the check). */
struct told_recall {
	char *device;
	char *version;
	char *topic; /* NULL: unknown */
	int64_t rollout;
	bool sent;
	struct notice_digest digest; /* when sent */
	UT_hash_handle hh;
};

struct told {
	struct set notices; /* of struct told_notice, by device */
	struct terms_set terms;
	struct told_recall *recalls;
	struct told_notice *again; /* to be told again, in the order of their times */
};

void told_clear(struct told *told);

/* NULL: none. */
struct told_notice *told_notice_of(const struct told *told, const char *device);
struct told_recall *told_recall_of(const struct told *told, const char *device);

/*
 * Remember a notice in place of what the device was told before, which is `notice`, as told_notice_of() says; a recall is over with it.
 * NULL: no memory.
 */
OTA_MUST_USE struct told_notice *told_notice_put(
	struct told *told, struct told_notice *notice, const char *device);
void told_notice_drop(struct told *told, struct told_notice *notice);
/* Let it wait until `at_us`, which is no earlier than any given before; or no longer. */
void told_again_at(struct told *told, struct told_notice *notice, int64_t at_us);
void told_again_not(struct told *told, struct told_notice *notice);
/* It is not to be told again: neither waits nor keeps its terms. */
void told_terms_drop(struct told *told, struct told_notice *notice);

/* Remember a recall in place of an earlier one.  `topic` may be NULL.  NULL: no memory. */
OTA_MUST_USE struct told_recall *told_recall_put(
	struct told *told, const char *device, int64_t rollout, const char *version, const char *topic);
void told_recall_drop(struct told *told, struct told_recall *recall);
