/*
 * deliver - notices and recalls: the last check, the sending, and the memory of what was sent.
 *
 * Changes come from the queue.  What concerns releases and rollouts takes effect at once, so that a halt overtakes
 * everything that waits; offers and recalls keep their order and are paced.
 * Thread: broker.  Owns the releases handed over and all changes taken.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/table.h"
#include "ota/gate/told.h"
#include "ota/gate/window.h"
#include "ota/wire/change.h"
#include "ota/wire/notice.h"

struct gate;
struct session;

enum {
	DELIVER_WAITING_MAX = 16384, /* offers and recalls taken from the queue and not yet handled */
	DELIVER_TAKE_MAX = 2048,     /* changes taken per round */
	DELIVER_LATE_MS = 10000,     /* a notice may be this late, for clocks that differ */
};

/* A verified release, and the part of its notices that all devices share. */
struct deliver_release {
	int64_t release_id;
	struct release *release;
	struct notice_template *notice;
	UT_hash_handle hh;
};

/* A rollout whose notices may go out. */
struct deliver_rollout {
	int64_t rollout;
	int64_t until_ms; /* wall clock: the end of its update window, 0: none */
	UT_hash_handle hh;
};

struct deliver {
	struct deliver_release *releases;
	struct deliver_rollout *live;
	struct told told;
	struct change *waiting; /* in their order, owned */
	size_t waiting_count;
	struct window window;
};

void deliver_clear(struct deliver *deliver);

/* Take changes from the queue, then send what the pacing allows. */
void deliver_work(struct gate *gate);
/* Is it worth calling before the next round of gate_work()? */
OTA_MUST_USE bool deliver_eager(const struct gate *gate);

/*
 * Is this payload, byte for byte, the outstanding notice of the device, of a live rollout and a valid release and in time, or
 * its recall?  The topic is not asked: whatever the way, the device gets what was sent to it or nothing.
 */
OTA_MUST_USE bool deliver_is_current(
	const struct gate *gate, const char *device, const void *payload, size_t length);

/* For again.c: the release with this id, NULL: not verified here; whether a rollout's notices may go out now. */
struct deliver_release *deliver_release_of(const struct deliver *deliver, int64_t release_id);
OTA_MUST_USE bool deliver_is_live(const struct gate *gate, int64_t rollout);
/* Where a device can be told, in its own session, else in that of its gateway `via` (may be NULL); NULL: it is not here. */
struct session *deliver_target(
	const struct gate *gate, const char *device, const char *via, bool *listening);
/* Queue an offer or a recall, taken over; it takes its turn. */
void deliver_wait(struct deliver *deliver, struct change *change);

/* The device answered: copies of its notice that are still queued somewhere are stale. */
void deliver_answered(struct gate *gate, const char *device);

/*
 * The session in which the device could be told is over, its own or its gateway's: a notice that was answered by then is forgotten.
 * Until then the same offer is not told again.
 */
void deliver_session_ends(struct gate *gate, const struct session *session, const char *device);

/* The device can be told again, in its own session or its gateway's: send the recall that it is owed. */
void deliver_owed(struct gate *gate, struct session *session, const char *device);
