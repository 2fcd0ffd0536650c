/*
 * pg_pooler - is the session behind the connection ours alone?
 *
 * A pooler may lend one session of the server to several clients in turn (PgBouncer: pool_mode = transaction or statement).  Then
 * nothing that lives in a session holds: the broker's name, the controller's lock, LISTEN, SET.  Two brokers would both control.
 * Thread: store.
 */
#pragma once

#include "ota/store/pg.h"

/*
 * Mark the session of a new connection, and, when a pooler is in between, try with a second connection whether it gets the same
 * session; gives up after two seconds when the pooler has none left.  OTA_ERR_STATE: it does, `why` says what to change; or an error of
 * pg_exec().
 */
OTA_MUST_USE enum ota_err pg_pooler_check(
	struct pg *pg, const char *conninfo, const char *broker, struct ota_why *why);

/* Is it still the session that was marked?  Asks only when a pooler is in between.  Errors as above. */
OTA_MUST_USE enum ota_err pg_pooler_still(struct pg *pg, struct ota_why *why);
