#include "pg_pooler.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "ota/base/clock.h"

#include "pg_lookup.h"

enum {
	PROBE_MS = 2000
};

static enum ota_err refuse(struct ota_why *why)
{
	ota_why_set(why,
		"the pooler shares one server session among clients (PgBouncer: pool_mode = transaction or "
		"statement): locks, LISTEN and SET do not hold there; give the plugin a pool with pool_mode = "
		"session");
	return OTA_ERR_STATE;
}

/* Does another connection through the pooler get the session of this one, which is idle at the moment? */
static enum ota_err probe(
	const struct pg *pg, const char *conninfo, const char *broker, struct ota_why *why)
{
	struct pg other = { .stop_fd = pg->stop_fd,
		.waits = pg->waits,
		.waits_context = pg->waits_context,
		.patience_ms = PROBE_MS };
	struct ota_why ignored = { "" };
	PGresult *result = NULL;
	enum ota_err err = pg_connect_raw(&other, conninfo, broker, PROBE_MS, &ignored);

	if (!err) {
		err = pg_exec(&other, "SELECT current_setting('mosquitto_ota.session', true)", 0, NULL,
			&result, &ignored);
	}
	if (!err) {
		const char *mark = pg_text(result, 0, 0);

		err = mark && strcmp(mark, pg->mark) == 0 ? refuse(why) : OTA_OK;
		PQclear(result);
	} else {
		/* No session left for a second connection, or none at all: nothing is shown. */
		err = OTA_OK;
	}
	pg_disconnect(&other);
	pg_lookup_end(&other);
	return err;
}

enum ota_err pg_pooler_check(
	struct pg *pg, const char *conninfo, const char *broker, struct ota_why *why)
{
	uint64_t number = (uint64_t)clock_wall_ms();
	const char *values[] = { pg->mark };
	PGresult *result = NULL;
	enum ota_err err;

	(void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
	(void)snprintf(pg->mark, sizeof(pg->mark), "%016" PRIx64, number);
	pg->pooled = false;
	err = pg_exec(pg, "SELECT pg_backend_pid(), set_config('mosquitto_ota.session', $1, false)", 1,
		values, &result, why);
	if (err) {
		return err;
	}
	/* A pooler has made up a process number of its own. */
	pg->pooled = pg_int(result, 0, 0) != PQbackendPID(pg->connection);
	PQclear(result);
	return pg->pooled ? probe(pg, conninfo, broker, why) : OTA_OK;
}

enum ota_err pg_pooler_still(struct pg *pg, struct ota_why *why)
{
	PGresult *result = NULL;
	const char *mark;
	enum ota_err err;

	if (!pg->pooled) {
		return OTA_OK;
	}
	err =
		pg_exec(pg, "SELECT current_setting('mosquitto_ota.session', true)", 0, NULL, &result, why);
	if (err) {
		return err;
	}
	mark = pg_text(result, 0, 0);
	if (!mark || strcmp(mark, pg->mark) != 0) {
		err = refuse(why);
	}
	PQclear(result);
	return err;
}
