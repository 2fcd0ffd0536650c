/*
 * pg - one connection to PostgreSQL that never waits longer than it is told to.
 *
 * Everything is asynchronous libpq underneath: a call ends at its deadline or as soon as the stop descriptor becomes readable, and the
 * connection is dropped then.  The server notices that within a second and ends the statement (client_connection_check_interval); no
 * cancel request is sent, because PQcancel() waits without a limit.
 * Thread: store.  The connection belongs to `struct pg`; results belong to the caller (pg_clear).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "ota/base/error.h"

enum {
	PG_CONNECT_MS = 5000,
	PG_WAIT_MS = 200,
	PG_STATEMENT_MS = 60000,
	PG_SCRIPT_MS = 600000
};

/* What the server said about the last statement that failed; texts are cut. */
struct pg_error {
	char state[6]; /* SQLSTATE */
	char message[600];
	char hint[600];
};

struct pg {
	PGconn *connection; /* NULL: not connected */
	int stop_fd;        /* readable: give up whatever is going on; -1: none */
	bool notified;      /* a NOTIFY arrived since it was last cleared */
	/* Called every PG_WAIT_MS while a call waits, with how long it has waited; must not use this pg.  May be NULL. */
	void (*waits)(void *context, int64_t waited_ms);
	void *waits_context;
	int64_t began;            /* start of the call, for `waits` */
	int64_t patience_ms;      /* how long pg_exec() waits; 0: PG_STATEMENT_MS */
	struct pg_lookup *lookup; /* names being resolved, see pg_lookup.h; may outlive a call */
	struct pg_error error;
	bool pooled;   /* a pooler is between us and the server, see pg_pooler.h */
	char mark[20]; /* what our session is known by */
};

/*
 * Connect with a conninfo string or URI; `broker` becomes part of application_name.  OTA_ERR_UNAVAILABLE or OTA_ERR_TIMEOUT with libpq's
 * reason, one line.
 */
OTA_MUST_USE enum ota_err pg_connect(
	struct pg *pg, const char *conninfo, const char *broker, struct ota_why *why);
/* The same without the settings of a session, within so many milliseconds. */
OTA_MUST_USE enum ota_err pg_connect_raw(
	struct pg *pg, const char *conninfo, const char *broker, int64_t limit_ms, struct ota_why *why);
void pg_disconnect(struct pg *pg);

/* Is this a string that libpq can parse?  Touches no network.  The reason never holds a password. */
OTA_MUST_USE enum ota_err pg_conninfo_check(const char *conninfo, struct ota_why *why);

/*
 * Run one statement with text parameters (NULL: null).  *result is set on OTA_OK only; free it with PQclear; `result` may be NULL.
 * Errors: OTA_ERR_UNAVAILABLE connection lost or not there; OTA_ERR_TIMEOUT; OTA_ERR_CONFLICT serialization failure or
 * deadlock: try again; OTA_ERR_INVALID bad data (SQLSTATE class 22 and 23, and 0A000); OTA_ERR_STATE anything else.
 */
OTA_MUST_USE enum ota_err pg_exec(struct pg *pg, const char *sql, int count,
	const char *const *values, PGresult **result, struct ota_why *why);

/*
 * The same with parameters of any form: lengths and formats (0: text, whose length does not count; 1: binary, see pg_binary.h) as in
 * PQexecParams().
 */
OTA_MUST_USE enum ota_err pg_exec_binary(struct pg *pg, const char *sql, int count,
	const char *const *values, const int *lengths, const int *formats, PGresult **result,
	struct ota_why *why);

/* Run a script of several statements; their results are dropped. */
OTA_MUST_USE enum ota_err pg_script(struct pg *pg, const char *sql, struct ota_why *why);

/* Take in what the server sent on its own; sets pg->notified.  OTA_ERR_UNAVAILABLE: the connection is gone. */
OTA_MUST_USE enum ota_err pg_poll(struct pg *pg, struct ota_why *why);

/* Columns of a result row; NULL, 0 and false for null. */
const char *pg_text(const PGresult *result, int row, int column);
int64_t pg_int(const PGresult *result, int row, int column);
bool pg_bool(const PGresult *result, int row, int column);
