/*
 * updating - the gate's question whether a device's update is going on, and of which release.
 *
 * Broker's thread: updating_push().  Store's thread: all else.  Between the two is a bounded queue; one statement answers for many.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/base/queue.h"
#include "ota/store/pg.h"

enum {
	UPDATING_WAITING_MAX = 4096,
	UPDATING_A_TURN = 500
};

struct updating;

/* Answers go into `changes`, as CHANGE_UPDATING.  NULL: no memory. */
OTA_MUST_USE struct updating *updating_new(struct queue *changes);
void updating_free(struct updating *updating);

/* OTA_ERR_UNAVAILABLE: the database is away; OTA_ERR_FULL: too many wait; OTA_ERR_NOMEM. */
OTA_MUST_USE enum ota_err updating_push(
	struct updating *updating, const char *device, int64_t session);

/* While the database is away nothing is taken, and what waits is dropped: the gate asks again. */
void updating_set_away(struct updating *updating, bool away);

/* Answer some.  Errors of pg_exec(); what was taken is dropped then.  *more: others wait. */
OTA_MUST_USE enum ota_err updating_work(
	struct updating *updating, struct pg *pg, bool *more, struct ota_why *why);
