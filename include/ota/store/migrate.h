/*
 * migrate - bring the database's schema to this plugin's.
 *
 * Numbered migrations are applied once, functions and views whenever theirs differ from the embedded ones and are not a newer
 * plugin's, all in one transaction under an advisory lock, so that two brokers may start at once.  After a migration of a database that
 * was in use the other brokers' sessions are ended, so that each of them looks anew whether it knows these tables.
 * Thread: store.
 */
#pragma once

#include "ota/base/error.h"
#include "ota/base/logring.h"
#include "ota/store/pg.h"

/*
 * OTA_ERR_DENIED: the database is newer than this plugin, or older and another role's to upgrade; nothing was changed.  Other errors as pg_exec().
 */
OTA_MUST_USE enum ota_err migrate(struct pg *pg, struct logring *log, struct ota_why *why);
