/*
 * pg_lookup - wait for the name server with a deadline, because libpq waits for it without one.
 *
 * libpq asks again right afterwards; by then the answer (or the refusal) is known to come quickly.
 * Thread: store.  A lookup that is under way cannot be taken back: it stays with the struct pg and is used by the next call.
 */
#pragma once

#include "ota/store/pg.h"

/*
 * Wait until the host names of `conninfo` are answered for.  Errors: OTA_ERR_TIMEOUT, OTA_ERR_UNAVAILABLE (interrupted, or none of
 * the names is known; says which), OTA_ERR_NOMEM.
 */
OTA_MUST_USE enum ota_err pg_lookup_wait(
	struct pg *pg, const char *conninfo, int64_t deadline, struct ota_why *why);
/* Free it; one that is still under way is left to the C library. */
void pg_lookup_end(struct pg *pg);
