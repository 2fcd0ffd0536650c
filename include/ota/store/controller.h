/*
 * controller - moves the rollouts: starts them, opens stages, gives devices their turn, judges, halts, completes.
 *
 * One broker of those that share a database runs it: the one that holds an advisory lock.  Nothing about a rollout lives only here,
 * except how many devices were told in the last minute (read from the rows after a take-over).
 * Thread: store.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/base/logring.h"
#include "ota/store/fold.h"
#include "ota/store/pg.h"

struct controller;

/* `broker`: the name of this one; like `log` it outlives the controller. */
OTA_MUST_USE struct controller *controller_new(const char *broker, struct logring *log);
void controller_free(struct controller *controller);

/* The connection is gone, and the lock with it. */
void controller_reset(struct controller *controller);

/* What a pass did. */
struct controller_result {
	bool leads;  /* this broker holds the lock */
	bool acted;  /* some rollout moved: figures and hand-outs should be looked at now */
	bool opened; /* ... by opening a stage: feed_opened() is to be called */
	bool active; /* some rollout is running or scheduled: come back soon */
};

/*
 * One pass over all rollouts.  `written_ms` (clock_mono_ms()): this broker's events up to then are in the tables, so that devices are judged
 * silent that should have been heard of before it.  Errors as pg_exec().
 */
OTA_MUST_USE enum ota_err controller_pass(struct controller *controller, struct pg *pg,
	struct fold *fold, int64_t written_ms, struct controller_result *done, struct ota_why *why);

/*
 * ANALYZE what a stage has added that was opened without, in its devices' interest: to be called when they have been handed out.  Does
 * nothing when there is nothing to count.  Errors as pg_exec().
 */
OTA_MUST_USE enum ota_err controller_analyze(
	struct controller *controller, struct pg *pg, struct ota_why *why);
