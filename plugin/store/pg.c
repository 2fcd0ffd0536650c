#include "ota/store/pg.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "ota/base/clock.h"

#include "pg_lookup.h"

/* libpq's messages have several lines; the first says it. */
static void why_from_connection(struct ota_why *why, const char *what, const PGconn *connection)
{
	const char *message = PQerrorMessage(connection);

	ota_why_set(why, "%s: %.*s", what, (int)strcspn(message, "\n"), message);
}

void pg_disconnect(struct pg *pg)
{
	if (pg->connection) {
		PQfinish(pg->connection);
		pg->connection = NULL;
	}
	pg->notified = false;
}

/* Wait for the socket, the stop descriptor or the deadline. */
static enum ota_err wait_socket(const struct pg *pg, short events, int64_t deadline)
{
	const int64_t pause = PG_WAIT_MS;
	struct pollfd fds[2] = {
		{ .fd = PQsocket(pg->connection), .events = events },
		{ .fd = pg->stop_fd, .events = POLLIN },
	};

	for (;;) {
		int64_t now = clock_mono_ms();
		int rc;

		if (now >= deadline) {
			return OTA_ERR_TIMEOUT;
		}
		rc = poll(fds, 2, (int)(deadline - now < pause ? deadline - now : pause));
		if (rc == 0 && pg->waits) {
			pg->waits(pg->waits_context, clock_mono_ms() - pg->began);
		}
		if (rc < 0 && errno != EINTR) {
			return OTA_ERR_IO;
		}
		if (rc > 0 && fds[1].revents) {
			return OTA_ERR_UNAVAILABLE;
		}
		if (rc > 0) {
			return OTA_OK;
		}
	}
}

static void ignore_notice(void *context, const PGresult *result)
{
	(void)context;
	(void)result;
}

enum ota_err pg_conninfo_check(const char *conninfo, struct ota_why *why)
{
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &message);

	/* libpq quotes what it cannot read, be it the password. */
	if (!options && (strstr(conninfo, "pass") || strchr(conninfo, '@'))) {
		ota_why_set(why, "libpq's reason may quote the password and is not shown; psql tells it");
		PQfreemem(message);
		return OTA_ERR_INVALID;
	}
	if (!options) {
		ota_why_set(why, "%.*s", message ? (int)strcspn(message, "\n") : 13,
			message ? message : "out of memory");
		PQfreemem(message);
		return OTA_ERR_INVALID;
	}
	PQconninfoFree(options);
	return OTA_OK;
}

/* Settings of the session.  Those that change what statements mean or say are set whatever the database's or the role's are. */
static enum ota_err prepare(struct pg *pg, struct ota_why *why)
{
	/* The server lets go of what we hold (our name, the lead, row locks) soon after we are gone, frozen or cut off.  Not every
	 * platform of a server knows all of these. */
	static const char *const optional[] = { "SET client_connection_check_interval = '1s'",
		"SET idle_session_timeout = '20s'", "SET tcp_keepalives_idle = 5",
		"SET tcp_keepalives_interval = 2", "SET tcp_keepalives_count = 3",
		"SET tcp_user_timeout = '15s'" };
	enum ota_err err = pg_script(pg,
		"SET client_min_messages = error; SET datestyle = 'ISO'; SET timezone = 'UTC'; "
		"SET intervalstyle = 'postgres'; SET standard_conforming_strings = on; "
		"SET default_transaction_isolation = 'read committed'; SET quote_all_identifiers = off; "
		"SET statement_timeout = '55s'; SET lock_timeout = '20s'; "
		"SET idle_in_transaction_session_timeout = '20s'; SET jit = off",
		why);

	for (size_t i = 0; !err && i < sizeof(optional) / sizeof(optional[0]); i++) {
		if (pg_script(pg, optional[i], why) == OTA_ERR_UNAVAILABLE || !pg->connection) {
			err = OTA_ERR_UNAVAILABLE;
		}
	}
	return err;
}

enum ota_err pg_connect_raw(
	struct pg *pg, const char *conninfo, const char *broker, int64_t limit_ms, struct ota_why *why)
{
	char name[160];
	const char *const keys[] = { "dbname", "fallback_application_name", "client_encoding",
		"keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", NULL };
	const char *const values[] = { conninfo, name, "UTF8", "10", "5", "3", "30000", NULL };
	int64_t deadline = clock_mono_ms() + limit_ms;
	enum ota_err err = OTA_ERR_UNAVAILABLE;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	pg_disconnect(pg);
	pg->began = clock_mono_ms();
	(void)snprintf(name, sizeof(name), "mosquitto_ota %s", broker);
	err = pg_lookup_wait(pg, conninfo, deadline, why);
	if (err) {
		return err;
	}
	err = OTA_ERR_UNAVAILABLE;
	pg->connection = PQconnectStartParams(keys, values, 1);
	if (!pg->connection) {
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	if (PQstatus(pg->connection) == CONNECTION_BAD) {
		goto out;
	}
	while (status != PGRES_POLLING_OK) {
		err = wait_socket(pg, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline);
		if (err) {
			ota_why_set(why, err == OTA_ERR_TIMEOUT ? "no connection within 5 s" : "interrupted");
			goto fail;
		}
		status = PQconnectPoll(pg->connection);
		if (status == PGRES_POLLING_FAILED) {
			err = OTA_ERR_UNAVAILABLE;
			goto out;
		}
	}
	(void)PQsetNoticeReceiver(pg->connection, ignore_notice, NULL);
	return OTA_OK;
out:
	why_from_connection(why, "cannot connect", pg->connection);
fail:
	pg_disconnect(pg);
	return err;
}

enum ota_err pg_connect(
	struct pg *pg, const char *conninfo, const char *broker, struct ota_why *why)
{
	enum ota_err err = pg_connect_raw(pg, conninfo, broker, PG_CONNECT_MS, why);

	return err ? err : prepare(pg, why);
}

static void take_notifications(struct pg *pg)
{
	PGnotify *notify;

	while ((notify = PQnotifies(pg->connection)) != NULL) {
		pg->notified = true;
		PQfreemem(notify);
	}
}

/* Flush what is to be sent and wait until PQgetResult() would not block. */
static enum ota_err wait_result(struct pg *pg, int64_t deadline, struct ota_why *why)
{
	int flushing = PQflush(pg->connection);

	while (flushing > 0 || PQisBusy(pg->connection)) {
		enum ota_err err =
			wait_socket(pg, (short)(flushing > 0 ? POLLIN | POLLOUT : POLLIN), deadline);

		if (err) {
			ota_why_set(
				why, err == OTA_ERR_TIMEOUT ? "no answer from PostgreSQL in time" : "interrupted");
			pg_disconnect(pg);
			return err;
		}
		if (!PQconsumeInput(pg->connection)) {
			flushing = -1;
			break;
		}
		if (flushing > 0) {
			flushing = PQflush(pg->connection);
		}
	}
	if (flushing < 0) {
		why_from_connection(why, "connection lost", pg->connection);
		pg_disconnect(pg);
		return OTA_ERR_UNAVAILABLE;
	}
	return OTA_OK;
}

/* Cut between characters. */
static void keep_text(char *out, size_t size, const char *text)
{
	size_t length = text ? strlen(text) : 0;

	if (length >= size) {
		length = size - 1;
		while (length > 0 && ((unsigned char)text[length] & 0xC0U) == 0x80U) {
			length--;
		}
	}
	if (length > 0) {
		memcpy(out, text, length);
	}
	out[length] = '\0';
}

static enum ota_err classify(struct pg *pg, const PGresult *result, struct ota_why *why)
{
	const PGconn *connection = pg->connection;
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (!state || PQstatus(connection) == CONNECTION_BAD) {
		why_from_connection(why, "connection lost", connection);
		return OTA_ERR_UNAVAILABLE;
	}
	keep_text(pg->error.state, sizeof(pg->error.state), state);
	keep_text(pg->error.message, sizeof(pg->error.message), message);
	keep_text(
		pg->error.hint, sizeof(pg->error.hint), PQresultErrorField(result, PG_DIAG_MESSAGE_HINT));
	ota_why_set(why, "PostgreSQL says: %s (SQLSTATE %s)", message ? message : "?", state);
	if (strncmp(state, "40", 2) == 0 || strcmp(state, "55P03") == 0) {
		return OTA_ERR_CONFLICT;
	}
	/* 0A000: a database without an encoding (SQL_ASCII) cannot say what these bytes are in UTF-8. */
	if (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0
		|| strcmp(state, "0A000") == 0) {
		return OTA_ERR_INVALID;
	}
	if (strncmp(state, "57P", 3) == 0 || strncmp(state, "08", 2) == 0) {
		return OTA_ERR_UNAVAILABLE;
	}
	return OTA_ERR_STATE;
}

/* Read all results of what was sent; the last good one is kept when `kept` is given. */
static enum ota_err collect(struct pg *pg, int64_t deadline, PGresult **kept, struct ota_why *why)
{
	enum ota_err err = OTA_OK;
	PGresult *result;
	ExecStatusType status;

	for (;;) {
		enum ota_err waited = wait_result(pg, deadline, why);

		if (waited) {
			if (kept) {
				PQclear(*kept);
				*kept = NULL;
			}
			return waited;
		}
		result = PQgetResult(pg->connection);
		if (!result) {
			break;
		}
		status = PQresultStatus(result);
		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
			err = err ? err : classify(pg, result, why);
		} else if (kept && !err) {
			PQclear(*kept);
			*kept = result;
			continue;
		}
		PQclear(result);
	}
	take_notifications(pg);
	if (err && kept) {
		PQclear(*kept);
		*kept = NULL;
	}
	if (err == OTA_ERR_UNAVAILABLE) {
		pg_disconnect(pg);
	}
	return err;
}

enum ota_err pg_exec(struct pg *pg, const char *sql, int count, const char *const *values,
	PGresult **result, struct ota_why *why)
{
	return pg_exec_binary(pg, sql, count, values, NULL, NULL, result, why);
}

enum ota_err pg_exec_binary(struct pg *pg, const char *sql, int count, const char *const *values,
	const int *lengths, const int *formats, PGresult **result, struct ota_why *why)
{
	const int64_t patience = pg->patience_ms > 0 ? pg->patience_ms : PG_STATEMENT_MS;
	PGresult *kept = NULL;
	enum ota_err err;

	if (!pg->connection) {
		ota_why_set(why, "not connected");
		return OTA_ERR_UNAVAILABLE;
	}
	(void)PQsetnonblocking(pg->connection, 1);
	pg->began = clock_mono_ms();
	if (!PQsendQueryParams(pg->connection, sql, count, NULL, values, lengths, formats, 0)) {
		why_from_connection(why, "cannot send", pg->connection);
		pg_disconnect(pg);
		return OTA_ERR_UNAVAILABLE;
	}
	err = collect(pg, pg->began + patience, &kept, why);
	if (!err && result) {
		*result = kept;
	} else {
		PQclear(kept);
	}
	return err;
}

enum ota_err pg_script(struct pg *pg, const char *sql, struct ota_why *why)
{
	if (!pg->connection) {
		ota_why_set(why, "not connected");
		return OTA_ERR_UNAVAILABLE;
	}
	(void)PQsetnonblocking(pg->connection, 1);
	pg->began = clock_mono_ms();
	if (!PQsendQuery(pg->connection, sql)) {
		why_from_connection(why, "cannot send", pg->connection);
		pg_disconnect(pg);
		return OTA_ERR_UNAVAILABLE;
	}
	return collect(pg, clock_mono_ms() + PG_SCRIPT_MS, NULL, why);
}

enum ota_err pg_poll(struct pg *pg, struct ota_why *why)
{
	if (!pg->connection || !PQconsumeInput(pg->connection)) {
		if (pg->connection) {
			why_from_connection(why, "connection lost", pg->connection);
		} else {
			ota_why_set(why, "not connected");
		}
		pg_disconnect(pg);
		return OTA_ERR_UNAVAILABLE;
	}
	take_notifications(pg);
	return OTA_OK;
}

const char *pg_text(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

int64_t pg_int(const PGresult *result, int row, int column)
{
	const char *text = pg_text(result, row, column);

	return text ? strtoll(text, NULL, 10) : 0;
}

bool pg_bool(const PGresult *result, int row, int column)
{
	const char *text = pg_text(result, row, column);

	return text && text[0] == 't';
}
