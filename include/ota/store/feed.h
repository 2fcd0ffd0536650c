/*
 * feed - what PostgreSQL has for this broker: releases to verify, rollouts, notices to hand out, recalls.
 *
 * Verifies releases with this broker's keys, once a release, row version and key set; hands verified ones, figures, offers and recalls to
 * the gate through the change queue.
 * Thread: store.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ota/base/error.h"
#include "ota/base/logring.h"
#include "ota/base/queue.h"
#include "ota/store/fold.h"
#include "ota/store/outbox.h"
#include "ota/store/pg.h"
#include "ota/store/warm.h"
#include "ota/wire/credentials.h"
#include "ota/wire/options.h"

struct feed;

/* `keyring` and `credentials` (NULL: none) become the feed's. */
OTA_MUST_USE struct feed *feed_new(const struct options *options, struct keyring *keyring,
	struct credentials *credentials, struct queue *changes, struct logring *log);
void feed_free(struct feed *feed);

/*
 * Read the key directory and the credentials again (SIGHUP).  What cannot be read changes nothing but is logged.  They count with the next
 * feed_releases() and feed_urls(), or with feed_without_database().  May be called while another of these functions waits for PostgreSQL.
 */
void feed_reload(struct feed *feed);
/*
 * The database is away or does not answer: what was read again counts all the same, for what the gate has.  Cheap when nothing was.  May be
 * called while another of these functions waits for PostgreSQL.
 */
void feed_without_database(struct feed *feed);

/* What to keep things in; to be called once, before anything else, by the store's thread.  It outlives the feed's work. */
void feed_set_warm(struct feed *feed, struct warm *warm);
/* Give the gate the gateways and the fleets' URLs of before. */
void feed_restore_early(struct feed *feed);
/*
 * The database is away at the start: give the gate the releases (verified again) and rollouts of before, and prepare to give it the
 * devices that were told and, going by the reports that wait in the outbox, have not answered.
 */
void feed_restore(struct feed *feed, struct outbox *outbox);
/* Give the gate more of those devices.  True: call again soon. */
OTA_MUST_USE bool feed_restore_claims(struct feed *feed);
/* Compare the kept claims with the database's. */
OTA_MUST_USE enum ota_err feed_claims(struct feed *feed, struct pg *pg, struct ota_why *why);

/* Verify what is to be verified and hand verified releases to the gate. */
OTA_MUST_USE enum ota_err feed_releases(struct feed *feed, struct pg *pg, struct ota_why *why);
/* Tell the gate about rollouts whose state or figures changed. */
OTA_MUST_USE enum ota_err feed_rollouts(struct feed *feed, struct pg *pg, struct ota_why *why);
/* Tell the gate which clients may speak for other devices, when that has changed. */
OTA_MUST_USE enum ota_err feed_gateways(struct feed *feed, struct pg *pg, struct ota_why *why);
/* Tell the gate the fleets' URLs when they have changed, and the database which credentials are here. */
OTA_MUST_USE enum ota_err feed_urls(struct feed *feed, struct pg *pg, struct ota_why *why);
/*
 * This broker has opened a stage: feed_hand_out() looks whether rows of its devices are notified already and wait to be told, until none
 * does.
 */
void feed_opened(struct feed *feed);
/*
 * Hand out recalls and notices, as many as the queue takes.  *more: there may be more right away.  again: devices that came back
 * without a sign of having started, too; only when the tables are hardly behind the outbox, because they are where that sign would be.
 * `fold`: hashes the audit rows of large claims; what it had of its last batch is gone.
 */
OTA_MUST_USE enum ota_err feed_hand_out(struct feed *feed, struct pg *pg, struct fold *fold,
	bool again, bool *more, struct ota_why *why);
/* Would a whole turn of hand-outs fit into the queue to the gate? */
OTA_MUST_USE bool feed_has_room(const struct feed *feed);
