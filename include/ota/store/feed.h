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
#include "ota/store/pg.h"
#include "ota/wire/options.h"

struct feed;

/* `keyring` becomes the feed's. */
OTA_MUST_USE struct feed *feed_new(const struct options *options, struct keyring *keyring,
	struct queue *changes, struct logring *log);
void feed_free(struct feed *feed);

/* Read the key directory again (SIGHUP).  A directory without a usable key changes nothing but is logged. */
void feed_reload_keys(struct feed *feed);

/* Verify what is to be verified and hand verified releases to the gate. */
OTA_MUST_USE enum ota_err feed_releases(struct feed *feed, struct pg *pg, struct ota_why *why);
/* Tell the gate about rollouts whose state or figures changed. */
OTA_MUST_USE enum ota_err feed_rollouts(struct feed *feed, struct pg *pg, struct ota_why *why);
/* Tell the gate which clients may speak for other devices, when that has changed. */
OTA_MUST_USE enum ota_err feed_gateways(struct feed *feed, struct pg *pg, struct ota_why *why);
/*
 * Hand out recalls and notices, as many as the queue takes.  *more: there may be more right away.
 */
OTA_MUST_USE enum ota_err feed_hand_out(
	struct feed *feed, struct pg *pg, bool *more, struct ota_why *why);
