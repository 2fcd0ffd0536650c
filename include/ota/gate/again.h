/*
 * again - telling a device once more, while the database is away, what it was told before.
 *
 * With the database there that is the database's business (ota.broker_claim).  Without it the gate does it for devices whose claim was
 * committed, that come back without having started, for a bounded time and once; see docs/design/durability.md.
 * Thread: broker.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ota/base/error.h"

struct change;
struct gate;
struct session;
struct told_notice;

enum {
	AGAIN_AFTER_MS = 15000 /* a device that came back gets this long to show that it has started */
};

/* What the gate knows of the database. */
struct again {
	bool away;
	int64_t since_ms; /* when away: it was there then ... */
	int64_t until_ms; /* ... and devices may be told until then; 0: not at all */
};

/* The database came or went: CHANGE_DATABASE. */
void again_database(struct gate *gate, const struct change *change);
/* Keep what is needed to tell the notice of this offer, which stays the caller's, again.  Without memory it is not told again. */
void again_keep(struct gate *gate, struct told_notice *notice, const struct change *offer);
/* A device that was told before this start: CHANGE_CLAIM, taken over. */
void again_claim(struct gate *gate, struct change *change);
/* The device can be reached in this session, its own or its gateway's. */
void again_returned(struct gate *gate, const struct session *session, const char *device);
/* Put those whose time has come among what is to be sent; called by the tick. */
void again_work(struct gate *gate);
/* May what was told before be told, or delivered, now?  Always while the database is there. */
OTA_MUST_USE bool again_allowed(const struct gate *gate);
/* An offer is about to be sent in this session: when it is told again, the database hears of it later.  Errors of emit_event(). */
OTA_MUST_USE enum ota_err again_note(
	struct gate *gate, const struct change *offer, const struct session *session);
/* Is a device that reports this version on the one it was told of?  A plain report is an answer then. */
OTA_MUST_USE bool again_runs_it(const struct gate *gate, const char *device, const char *version);
