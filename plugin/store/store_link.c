/* The connection of the store's thread: made, proved good, lost, and what is said about it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ota/base/clock.h"
#include "ota/store/migrate.h"
#include "ota/wire/change.h"
#include "ota/wire/time.h"

#include "pg_pooler.h"
#include "store_internal.h"

enum {
	ALIVE_MS = 2000,
	REPORT_MS = 10000,
	CONTACT_MS = 5000,
	RESTORE_MS = 50, /* while the broker's thread takes what was kept */
	/* No answer for so long is worth a line, though the statement may still end well. */
	SLOW_MS = 5000,
	/* An operator's command may take its time. */
	SLOW_COMMAND_MS = COMMAND_STATEMENT_MS + 2000,
	/* A statement that fails again and again: at first it is tried again at once (an operator was quicker). */
	TROUBLE_MS = 3000,
	TROUBLE_SOON_MS = 40,
	TROUBLE_LATER_MS = 1000,
	/* After a crash the server may take a moment to notice that our former self is gone. */
	NAME_TAKEN_MS = 3000,
	NAME_RETRY_MS = 250,
};

/* $SYS/broker/ota/database and the backlog. */
void link_report(struct store *store)
{
	struct change *change = change_new(CHANGE_DATABASE);
	char since[TIME_TEXT_SIZE];
	char text[200];

	time_format_rfc3339(store->away_since_ms, since);
	(void)snprintf(text, sizeof(text),
		"{\"state\":\"%s\",\"since\":\"%s\",\"backlog\":%" PRIu64 "}",
		store->said_busy                         ? "busy"
			: store->said_away || !store->proven ? "away"
												 : "connected",
		since, outbox_pending_records(store->outbox));
	if (change) {
		change->live = !store->said_away && store->proven;
		change->text = strdup(text);
		if (store->contact_ms > 0 && !store->refused) {
			change->since_ms = store->contact_ms;
			change->until_ms =
				store->contact_ms + (int64_t)store->options->offline_serve_seconds * 1000;
		}
		if (!queue_push(store->changes, change)) {
			change_free(change);
		}
	}
	store->report_at = clock_mono_ms() + REPORT_MS;
}

int64_t link_do_without(struct store *store, int64_t limit)
{
	if (!store->settled && store->said_away && !store->refused) {
		store->settled = true;
		store->contact_ms = warm_contact_ms(store->warm);
		if (store->contact_ms > 0) {
			feed_restore(store->feed, store->outbox);
			link_report(store);
		}
	}
	return feed_restore_claims(store->feed) && limit > RESTORE_MS ? RESTORE_MS : limit;
}

static void say_away(struct store *store, const char *reason)
{
	const bool known =
		store->said_away && !store->said_busy && (store->said_refused || !store->refused);

	if (known || atomic_load(&store->stopping)) {
		return;
	}
	/* That the database does not want us is news also to who knows that it was gone: only an operator can change it. */
	store->said_refused = store->refused;
	if (!store->said_away) {
		store->away_since_ms = clock_wall_ms();
	}
	store->said_away = true;
	store->said_busy = false;
	logring_printf(store->log, LOG_LEVEL_WARNING,
		"PostgreSQL is away: %s; reports are kept in %s, no rollout moves, trying again", reason,
		store->options->state_directory);
	link_report(store);
}

/* Nothing is wrong and nothing is to be repaired; all else is as while it is away, because this thread waits. */
static void say_busy(struct store *store)
{
	if (store->said_away || atomic_load(&store->stopping)) {
		return;
	}
	store->away_since_ms = clock_wall_ms();
	store->said_away = true;
	store->said_busy = true;
	logring_printf(store->log, LOG_LEVEL_NOTICE,
		"PostgreSQL is busy opening a stage of many devices, which may take minutes; until then reports are kept in %s and no command is taken",
		store->options->state_directory);
	link_report(store);
}

void link_tell_commands(struct store *store)
{
	commands_set_state(store->commands,
		store->said_busy       ? COMMANDS_BUSY
			: store->said_away ? COMMANDS_AWAY
							   : COMMANDS_TAKEN);
}

void link_contact(struct store *store, int64_t at_ms)
{
	store->settled = true;
	store->refused = false;
	store->contact_ms = at_ms;
	/* Only who was told may be told again, so the time matters only then. */
	if (warm_count(store->warm, WARM_CLAIM) > 0
		&& (at_ms - warm_contact_ms(store->warm) >= CONTACT_MS
			|| at_ms < warm_contact_ms(store->warm))) {
		warm_put(store->warm, &(const struct warm_record){ .kind = WARM_CONTACT, .at_ms = at_ms });
	}
	warm_flush(store->warm);
}

enum ota_err link_poll(struct store *store, struct ota_why *why)
{
	enum ota_err err = pg_poll(&store->pg, why);

	return err ? err : pg_pooler_still(&store->pg, why);
}

void link_works(struct store *store)
{
	bool news = store->said_away || !store->proven;

	store->trouble_since = 0;
	if (!store->proven) {
		store->proven = true;
		backoff_reset(&store->backoff);
	}
	if (!news) {
		return;
	}
	if (store->said_away) {
		logring_printf(store->log, LOG_LEVEL_NOTICE,
			"PostgreSQL is %s, %" PRIu64 " events to write",
			store->said_busy ? "free again" : "back", outbox_pending_records(store->outbox));
	}
	store->said_away = false;
	store->said_busy = false;
	store->said_refused = false;
	store->away_since_ms = clock_wall_ms();
	link_report(store);
}

int64_t link_trouble(struct store *store, const struct ota_why *why)
{
	int64_t now = clock_mono_ms();

	if (store->trouble_since == 0) {
		store->trouble_since = now;
	}
	if (now - store->trouble_since < TROUBLE_MS) {
		return TROUBLE_SOON_MS;
	}
	say_away(store, why->text);
	return TROUBLE_LATER_MS;
}

void link_lose(struct store *store, enum ota_err err, const struct ota_why *why)
{
	int64_t now = clock_mono_ms();

	pg_disconnect(&store->pg);
	controller_reset(store->controller);
	outbox_rewind(store->outbox);
	gather_reset(&store->gather);
	store->proven = false;
	store->trouble_since = 0;
	store->refused = err == OTA_ERR_DENIED;
	if (store->refused && store->taken_since && now - store->taken_since < NAME_TAKEN_MS) {
		store->retry_at = now + NAME_RETRY_MS;
		return;
	}
	store->retry_at = now + backoff_next(&store->backoff);
	say_away(store, why->text);
}

void link_upkeep(struct store *store)
{
	struct ota_why why = { "" };
	int64_t now = clock_mono_ms();

	if (now >= store->sync_at) {
		if (outbox_sync(store->outbox, &why)) {
			logring_printf(store->log, LOG_LEVEL_ERROR, "outbox: %s", why.text);
		}
		warm_sync(store->warm);
		store->sync_at =
			now + (store->options->outbox_sync_ms > 0 ? store->options->outbox_sync_ms : 1);
	}
	if (now >= store->report_at) {
		link_report(store);
	}
}

enum ota_err link_alive(struct store *store, bool leads, struct ota_why *why)
{
	char behind[24];
	const char *values[] = { store->options->broker_name, behind };
	enum ota_err err;

	(void)snprintf(behind, sizeof(behind), "%" PRId64, store_behind_ms(store));
	err = pg_exec(&store->pg,
		leads ? "SELECT ota.broker_alive($1, $2::bigint), ota.broker_sweep()"
			  : "SELECT ota.broker_alive($1, $2::bigint)",
		2, values, NULL, why);
	store->alive_at = clock_mono_ms() + ALIVE_MS;
	return err ? err : audit_note(store, why);
}

void link_reload(struct store *store)
{
	if (atomic_exchange(&store->reload, false)) {
		feed_reload(store->feed);
		store->eager = true;
	}
}

void link_waits(void *context, int64_t waited_ms)
{
	struct store *store = context;
	const bool slow =
		store->pg.connection && waited_ms >= (store->commanding ? SLOW_COMMAND_MS : SLOW_MS);

	link_upkeep(store);
	/* The statement may wait for minutes; a key that is gone does not count so long. */
	link_reload(store);
	if (slow || store->said_away) {
		feed_without_database(store->feed);
	}
	if (slow) {
		if (store->pg.patience_ms > 0) {
			say_busy(store);
		} else {
			say_away(store, store->commanding ? "no answer for 12 s" : "no answer for 5 s");
		}
		link_tell_commands(store);
	}
}

/* Only one broker of a name: its sequence numbers are what makes a batch count once. */
static enum ota_err take_name(struct store *store, struct ota_why *why)
{
	const char *values[] = { store->options->broker_name };
	PGresult *result = NULL;
	enum ota_err err =
		pg_exec(&store->pg, "SELECT pg_try_advisory_lock(hashtext('ota.broker'), hashtext($1))", 1,
			values, &result, why);

	if (err) {
		return err;
	}
	if (pg_bool(result, 0, 0)) {
		store->taken_since = 0;
	} else {
		ota_why_set(why,
			"another broker is connected under the name \"%s\"; give each its own plugin_opt_broker_name",
			store->options->broker_name);
		store->taken_since = store->taken_since ? store->taken_since : clock_mono_ms();
		err = OTA_ERR_DENIED;
	}
	PQclear(result);
	return err;
}

/* What an earlier session of this name was handing out is nobody's now.  Before the broker says hello, in transactions of their own. */
static enum ota_err hand_back(struct store *store, struct ota_why *why)
{
	const char *values[] = { store->options->broker_name };
	bool more = true;
	enum ota_err err = OTA_OK;

	while (!err && more) {
		PGresult *result = NULL;

		err = pg_exec(&store->pg, "SELECT ota.broker_hand_back($1)", 1, values, &result, why);
		if (!err) {
			more = PQntuples(result) > 0 && !PQgetisnull(result, 0, 0);
			PQclear(result);
		}
	}
	return err;
}

static enum ota_err greet(struct store *store, struct ota_why *why)
{
	const char *values[] = { store->options->broker_name, OTA_VERSION, store->greeted ? "f" : "t" };
	PGresult *result = NULL;
	enum ota_err err =
		pg_exec(&store->pg, "SELECT ota.broker_hello($1, $2, $3)", 3, values, &result, why);

	if (!err) {
		err = outbox_skip_to(store->outbox, (uint64_t)pg_int(result, 0, 0), why);
		PQclear(result);
	}
	if (!err) {
		store->greeted = true;
	}
	return err;
}

/* What was kept counts for one database only. */
static enum ota_err know_database(struct store *store, struct ota_why *why)
{
	PGresult *result = NULL;
	enum ota_err err = pg_exec(&store->pg, "SELECT ota.broker_database()", 0, NULL, &result, why);

	if (!err) {
		warm_database(store->warm, pg_text(result, 0, 0) ? pg_text(result, 0, 0) : "");
		PQclear(result);
	}
	return err;
}

/* What cannot be stored is left out, one event at a time; who runs such a database is to know it before. */
static void look_at_encoding(struct store *store)
{
	const char *encoding = PQparameterStatus(store->pg.connection, "server_encoding");

	if (encoding && strcmp(encoding, "UTF8") != 0) {
		logring_printf(store->log, LOG_LEVEL_WARNING,
			"the database's encoding is %s, not UTF8: a report with a character that it does not have cannot be stored",
			encoding);
	}
}

enum ota_err link_connect(struct store *store, struct ota_why *why)
{
	enum ota_err err =
		pg_connect(&store->pg, store->options->database, store->options->broker_name, why);

	if (!err) {
		err =
			pg_pooler_check(&store->pg, store->options->database, store->options->broker_name, why);
	}
	if (!err) {
		err = migrate(&store->pg, store->log, why);
	}
	if (!err) {
		err = take_name(store, why);
	}
	if (!err) {
		err = pg_script(&store->pg, "LISTEN ota", why);
	}
	if (!err) {
		err = know_database(store, why);
	}
	if (!err) {
		err = hand_back(store, why);
	}
	if (!err) {
		err = greet(store, why);
	}
	if (err) {
		return err;
	}
	look_at_encoding(store);
	store->eager = true;
	store->claims_at = 0;
	store->pass_at = 0;
	store->next_pass_at = 0;
	return OTA_OK;
}
