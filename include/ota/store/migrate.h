/*
 * migrate - bring the database's schema to this plugin's.
 *
 * Numbered migrations are applied once, functions and views whenever theirs differ from the embedded ones, all in one
 * transaction under an advisory lock, so that two brokers may start at once.
 * Thread: store.
 */
#pragma once

#include "ota/base/error.h"
#include "ota/base/logring.h"
#include "ota/store/pg.h"

/*
 * OTA_ERR_CONFLICT: the database is newer than this plugin; nothing was changed.  Other errors as pg_exec().
 */
OTA_MUST_USE enum ota_err migrate(struct pg *pg, struct logring *log, struct ota_why *why);
