#include "ota/store/store.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "ota/base/clock.h"
#include "ota/base/descriptors.h"

#include "pg_lookup.h"
#include "store_internal.h"

enum {
	PASS_MIN_MS = 40,     /* between two passes, however many reports come in */
	PASS_ACTIVE_MS = 250, /* while a rollout runs */
	PASS_IDLE_MS = 1000,  /* backs up a NOTIFY that got lost */
	/* With tables further behind no rollout is moved; as for another broker's devices, see ota.controller_expired(). */
	BEHIND_MAX_MS = 10000,
	/* Nobody is told again, because the sign that it has started may be among what is not written yet. */
	BEHIND_AGAIN_MS = 500,
	CLAIMS_MS = 30000,
	HAND_OUT_MS = 200, /* reports do not wait longer for a stage that is being handed out */
	/* After the last page: the broker still tells it, and wants the processor for that. */
	ANALYZE_MS = 200,
	STOP_SOFT_MS = 2000,
};

/* Recalls and notices, page by page for a while. */
static enum ota_err hand_out(struct store *store, struct ota_why *why)
{
	const int64_t began_ms = clock_mono_ms();
	enum ota_err err;
	int pages = 0;

	do {
		err = feed_hand_out(store->feed, &store->pg, store->fold,
			store_behind_ms(store) <= BEHIND_AGAIN_MS, &store->handing_out, why);
		pages++;
	} while (!err && store->handing_out && feed_has_room(store->feed)
		&& clock_mono_ms() - began_ms < HAND_OUT_MS);
	if (pages > 1 || store->handing_out) {
		store->analyze_at = clock_mono_ms() + ANALYZE_MS;
	}
	return err;
}

/* Controller, releases, rollouts, hand-outs: what a pass over the database's side does. */
static enum ota_err pass(struct store *store, struct ota_why *why)
{
	struct controller_result done = { 0 };
	int64_t now = clock_mono_ms();
	const int64_t began_ms = clock_wall_ms();
	enum ota_err err = OTA_OK;

	store->eager = false;
	store->pg.notified = false;
	if (store_behind_ms(store) <= BEHIND_MAX_MS) {
		err = controller_pass(
			store->controller, &store->pg, store->fold, store->written.until_ms, &done, why);
	}
	/* After the controller: a rollout that has just been started may name a release not looked at yet. */
	if (!err) {
		err = feed_releases(store->feed, &store->pg, why);
	}
	if (!err) {
		err = feed_rollouts(store->feed, &store->pg, why);
	}
	if (!err) {
		err = feed_gateways(store->feed, &store->pg, why);
	}
	err = err ? err : feed_urls(store->feed, &store->pg, why);
	if (done.opened) {
		feed_opened(store->feed);
	}
	if (!err) {
		err = hand_out(store, why);
	}
	if (!err && !store->handing_out && clock_mono_ms() >= store->analyze_at) {
		err = controller_analyze(store->controller, &store->pg, why);
	}
	if (!err && store->written.until_ms && now >= store->alive_at) {
		err = link_alive(store, done.leads, why);
	}
	if (!err && now >= store->claims_at) {
		err = feed_claims(store->feed, &store->pg, why);
		store->claims_at = now + CLAIMS_MS;
	}
	if (!err) {
		link_contact(store, began_ms);
	}
	store->active = done.active;
	store->eager = store->eager || done.acted || store->handing_out;
	store->pass_at = clock_mono_ms() + (done.active ? PASS_ACTIVE_MS : PASS_IDLE_MS);
	return err;
}

/* A stage is being handed out, and the gate takes more of it. */
static bool handing_on(const struct store *store)
{
	return store->handing_out && feed_has_room(store->feed);
}

/* A stage that is being handed out is interrupted only for what has to be done every so often: a pass costs as much as half a page. */
static bool pass_is_due(const struct store *store, int64_t now)
{
	return now >= store->pass_at
		|| (store->eager && now >= store->next_pass_at && !handing_on(store));
}

/* Is this error worth a new connection? */
static bool is_fatal(enum ota_err err)
{
	return err == OTA_ERR_UNAVAILABLE || err == OTA_ERR_TIMEOUT || err == OTA_ERR_STATE
		|| err == OTA_ERR_NOMEM || err == OTA_ERR_IO;
}

/*
 * One turn with a connection; returns how long to sleep at most.  *paused: sleep so long even with events to write.
 */
static int64_t turn(struct store *store, bool *paused)
{
	struct ota_why why = { "" };
	bool drained = true;
	bool passed = store->proven;
	bool more = false;
	int64_t now;
	int64_t gather_ms = store_gather_ms(store);
	int64_t limit_ms;
	enum ota_err err = link_poll(store, &why);

	store->gathering = gather_ms > 0;
	if (!err && !store->gathering) {
		err = store_write_batch(store, &drained, &why);
	}
	if (!err) {
		store->commanding = true;
		err = commands_work(store->commands, &store->pg, &more, &why);
		store->commanding = false;
	}
	if (!err && store->proven) {
		err = updating_work(store->updating, &store->pg, &more, &why);
	}
	if (!err && store->pg.notified) {
		store->eager = true;
	}
	now = clock_mono_ms();
	if (!err && pass_is_due(store, now)) {
		err = pass(store, &why);
		store->next_pass_at = clock_mono_ms() + PASS_MIN_MS;
		passed = true;
	} else if (!err && handing_on(store)) {
		err = hand_out(store, &why);
	}
	if (err) {
		store->handing_out = false; /* the next pass finds out */
	}
	if (err && is_fatal(err)) {
		link_lose(store, err, &why);
		return 0;
	}
	if (err) {
		/* A deadlock, a lock held too long: the same again in a moment. */
		outbox_rewind(store->outbox);
		store->eager = true;
		*paused = true;
		return link_trouble(store, &why);
	}
	if (passed) {
		link_works(store);
	}
	now = clock_mono_ms();
	if (!drained || more || handing_on(store)) {
		return 0;
	}
	limit_ms = (store->eager ? store->next_pass_at : store->pass_at) - now;
	return store->gathering && gather_ms < limit_ms ? gather_ms : limit_ms;
}

/* Sleep for so long, or until there is something to do; `paused`, and while they gather: events to write are nothing to do. */
static void sleep_until_something(struct store *store, int64_t limit_ms, bool paused)
{
	struct pollfd fds[3] = {
		{ .fd = store->wake_fd, .events = POLLIN },
		{ .fd = outbox_wake_fd(store->outbox), .events = POLLIN },
		{ .fd = store->pg.connection ? PQsocket(store->pg.connection) : -1, .events = POLLIN },
	};
	int64_t to_sync = store->sync_at - clock_mono_ms();
	uint64_t counter;

	if (limit_ms > to_sync) {
		limit_ms = to_sync;
	}
	if (paused || store->gathering) {
		fds[1].fd = -1;
	}
	if (paused) {
		fds[2].fd = -1;
	}
	if (limit_ms <= 0 || (!paused && !store->gathering && !outbox_idle(store->outbox))) {
		return;
	}
	if (poll(fds, 3, (int)limit_ms) > 0 && fds[0].revents) {
		(void)!read(store->wake_fd, &counter, sizeof(counter));
	}
}

/*
 * A table of open files for this thread alone: a shared one would cost the broker's thread at each read() and write().  Where the
 * kernel does not allow it, everything works as it is.
 */
static void own_descriptors(const struct store *store)
{
	int keep[2 + OUTBOX_DESCRIPTORS] = { store->wake_fd, store->stop_fd };

	(void)descriptors_own(keep, 2 + outbox_descriptors(store->outbox, keep + 2));
}

static void *run(void *argument)
{
	struct store *store = argument;
	struct ota_why why = { "" };

	own_descriptors(store);
	store->warm = warm_open(store->options->state_directory, store->options->broker_name,
		store->options->database, store->log);
	if (!store->warm) {
		logring_printf(
			store->log, LOG_LEVEL_ERROR, "out of memory: nothing works without a restart");
		return NULL;
	}
	feed_set_warm(store->feed, store->warm);
	feed_restore_early(store->feed);
	while (!atomic_load(&store->stopping)) {
		int64_t limit = PASS_IDLE_MS;
		bool paused = false;

		link_reload(store);
		if (!store->pg.connection && clock_mono_ms() >= store->retry_at) {
			enum ota_err err = link_connect(store, &why);

			if (err) {
				link_lose(store, err, &why);
			}
		}
		if (store->pg.connection) {
			limit = turn(store, &paused);
		}
		if (!store->pg.connection || store->said_away) {
			feed_without_database(store->feed);
		}
		if (!store->pg.connection) {
			limit = store->retry_at - clock_mono_ms();
			paused = true;
		}
		limit = link_do_without(store, limit);
		link_upkeep(store);
		link_tell_commands(store);
		updating_set_away(store->updating, store->said_away);
		sleep_until_something(store, limit, paused);
	}
	for (bool drained = false; store->pg.connection && !drained;) {
		if (store_write_batch(store, &drained, &why)) {
			break;
		}
	}
	if (store->pg.connection) {
		const char *values[] = { store->options->broker_name };

		(void)!pg_exec(&store->pg, "SELECT ota.broker_goodbye($1)", 1, values, NULL, &why);
	}
	pg_disconnect(&store->pg);
	pg_lookup_end(&store->pg);
	warm_close(store->warm);
	outbox_reader_end(store->outbox);
	return NULL;
}

static void report_outbox(void *context, const char *line)
{
	struct store *store = context;

	logring_printf(store->log, LOG_LEVEL_WARNING, "outbox: %s", line);
}

static void store_free(struct store *store)
{
	outbox_close(store->outbox);
	feed_free(store->feed);
	fold_free(store->fold);
	controller_free(store->controller);
	commands_free(store->commands);
	updating_free(store->updating);
	free(store->events);
	free(store->audit_heads);
	if (store->wake_fd >= 0) {
		(void)close(store->wake_fd);
	}
	if (store->stop_fd >= 0) {
		(void)close(store->stop_fd);
	}
	free(store);
}

static enum ota_err start_thread(struct store *store, struct ota_why *why)
{
	sigset_t all;
	sigset_t old;
	int rc;

	/* Signals are the broker's business. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&store->thread, NULL, run, store);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0) {
		ota_why_set(why, "cannot start a thread (error %d)", rc);
		return OTA_ERR_IO;
	}
	(void)pthread_setname_np(store->thread, "mosquitto_ota");
	return OTA_OK;
}

enum ota_err store_start(const struct options *options, struct keyring *keyring,
	struct credentials *credentials, int64_t session_floor, struct queue *changes,
	struct logring *log, struct store **out, struct ota_why *why)
{
	struct store *store = calloc(1, sizeof(*store));
	struct ota_why inner = { "" };
	struct outbox_options outbox = { 0 };
	enum ota_err err = OTA_ERR_NOMEM;

	if (!store) {
		keyring_free(keyring);
		credentials_free(credentials);
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	store->options = options;
	store->changes = changes;
	store->log = log;
	store->away_since_ms = clock_wall_ms();
	store->backoff =
		(struct backoff){ .base_ms = 200, .cap_ms = 10000, .random = (uint64_t)session_floor };
	store->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	store->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	store->pg.stop_fd = store->stop_fd;
	store->pg.waits = link_waits;
	store->pg.waits_context = store;
	store->fold = fold_new(options->broker_name, options->enroll, session_floor);
	store->controller = controller_new(options->broker_name, log);
	store->commands = commands_new(changes);
	store->updating = updating_new(changes);
	store->events = calloc(STORE_BATCH_RECORDS, sizeof(*store->events));
	if (store->wake_fd < 0 || store->stop_fd < 0 || !store->fold || !store->controller
		|| !store->commands || !store->updating || !store->events) {
		ota_why_set(why, "out of memory or descriptors");
		goto fail;
	}
	outbox.directory = options->state_directory;
	outbox.max_bytes = (uint64_t)options->outbox_max_bytes;
	outbox.report = report_outbox;
	outbox.report_context = store;
	err = outbox_open(&outbox, &store->outbox, &inner);
	if (err) {
		ota_why_set(why, "plugin_opt_state_directory: %s", inner.text);
		goto fail;
	}
	store->feed = feed_new(options, keyring, credentials, changes, log);
	if (!store->feed) {
		err = OTA_ERR_NOMEM;
		ota_why_set(why, "out of memory");
		goto fail;
	}
	/* Opening has read from it; the thread opens it again in its own table. */
	outbox_reader_end(store->outbox);
	err = start_thread(store, why);
	if (err) {
		goto fail;
	}
	*out = store;
	return OTA_OK;
fail:
	if (!store->feed) { /* which would own them */
		keyring_free(keyring);
		credentials_free(credentials);
	}
	store_free(store);
	return err;
}

void store_stop(struct store *store)
{
	struct timespec until = { 0 };

	if (!store) {
		return;
	}
	/* What cannot be written now is said by outbox_close(). */
	(void)!store_flush(store);
	atomic_store(&store->stopping, true);
	store_signal(store->wake_fd);
	/* Not the clock for people: somebody may set it back meanwhile. */
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STOP_SOFT_MS / 1000;
	if (pthread_clockjoin_np(store->thread, NULL, CLOCK_MONOTONIC, &until) == ETIMEDOUT) {
		/* What is left stays in the outbox. */
		store_signal(store->stop_fd);
		(void)pthread_join(store->thread, NULL);
	}
	store_free(store);
}
