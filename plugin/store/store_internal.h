/* What store.c (the thread), store_batch.c (outbox to tables) and store_link.c (the connection to PostgreSQL) share; see ota/store/store.h. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "ota/base/backoff.h"
#include "ota/store/command.h"
#include "ota/store/controller.h"
#include "ota/store/feed.h"
#include "ota/store/fold.h"
#include "ota/store/gather.h"
#include "ota/store/outbox.h"
#include "ota/store/pg.h"
#include "ota/store/store.h"
#include "ota/store/updating.h"
#include "ota/store/warm.h"
#include "ota/store/written.h"

enum {
	STORE_BATCH_RECORDS = 16000, /* of one batch, at most */
};

struct store {
	const struct options *options;
	struct queue *changes;
	struct logring *log;
	struct outbox *outbox;
	struct feed *feed;
	struct fold *fold;
	struct controller *controller;
	struct commands *commands;
	struct updating *updating;
	struct event *events; /* STORE_BATCH_RECORDS */
	struct warm *warm;    /* of the thread */
	bool settled; /* the database has been there since the start, or what was kept is in use */
	bool refused; /* the database is there but is not for us: nothing may be told in its name */
	int64_t contact_ms; /* wall clock: begin of the last whole pass; 0: none is known */
	int64_t claims_at;  /* when the kept claims are compared with the database's */
	struct pg pg;
	struct backoff backoff;
	int wake_fd;
	int stop_fd;
	atomic_bool stopping;
	atomic_bool reload;
	bool greeted; /* this process has introduced itself to the database once */
	bool proven;  /* this connection has taken a batch and a pass: it is good for more than hello */
	bool said_away;    /* the log and $SYS say "away", or "busy" */
	bool said_busy;    /* ... "busy": a stage of many devices opens */
	bool said_refused; /* ... and that the database is not for us */
	bool active;
	int64_t analyze_at;     /* what a stage has added is counted then, or later */
	bool handing_out;       /* there was more to hand out than time for it */
	struct written written; /* up to when all is in the tables */
	struct gather gather;   /* when the next batch is begun */
	bool gathering;         /* ... not now */
	bool eager;             /* something happened that a pass should look at */
	bool commanding;        /* an operator's command runs */
	int64_t away_since_ms;  /* wall clock */
	int64_t
		trouble_since;   /* first of the statements that have failed one after the other; 0: none */
	int64_t taken_since; /* since when another session has had our name; 0: it has not */
	int64_t retry_at;
	int64_t pass_at;
	int64_t next_pass_at;
	int64_t alive_at;
	int64_t sync_at;
	int64_t report_at;
	int64_t audit_at; /* next look at the heads of the audit log; 0: none yet */
	int64_t audit_log_at;
	char *audit_heads;    /* as noted last, JSON; NULL: not known */
	bool audit_unwritten; /* the log says so */
	pthread_t thread;
};

/* How long the next batch waits for more to come in; 0: it is to be written now. */
int64_t store_gather_ms(struct store *store);
/* Write one batch; *drained: there was nothing to write.  Errors of outbox_read(), fold_events() and outbox_commit(). */
OTA_MUST_USE enum ota_err store_write_batch(
	struct store *store, bool *drained, struct ota_why *why);
/* Milliseconds that the tables are behind the outbox: what it had taken by then is in them.  INT64_MAX: not known yet. */
int64_t store_behind_ms(const struct store *store);

/*
 * Connect, migrate, take the broker's name and introduce it; on an error the connection is of no use.  OTA_ERR_DENIED: the database is there
 * but is not for us, which only an operator can change.
 */
OTA_MUST_USE enum ota_err link_connect(struct store *store, struct ota_why *why);
/* A whole pass that began at `at_ms` (wall clock) is done: what the database said then is known here, and kept. */
void link_contact(struct store *store, int64_t at_ms);
/*
 * To be called in each round: when the database has not been there since the start, what was kept of it takes its place.  Returns how
 * long to sleep at most, given that limit.
 */
int64_t link_do_without(struct store *store, int64_t limit);
/* Tell the gate, and with it $SYS/broker/ota/database, how things are. */
void link_report(struct store *store);
/* Drop the connection; say so when that is news, and set the time of the next try. */
void link_lose(struct store *store, enum ota_err err, const struct ota_why *why);
/* A statement failed that may work the next time; returns how long to wait before that. */
int64_t link_trouble(struct store *store, const struct ota_why *why);
/* Before a turn: take in what the server sent; is the session still ours?  Errors of pg_poll() and pg_pooler_still(). */
OTA_MUST_USE enum ota_err link_poll(struct store *store, struct ota_why *why);
/* Whether operators' commands are taken now, and what they are told if not. */
void link_tell_commands(struct store *store);
/* Read keys and credentials again, if that was asked for. */
void link_reload(struct store *store);
/* A whole turn went well. */
void link_works(struct store *store);
/* To be called while a statement takes its time: keeps the outbox safe, reads keys again, and says so when it takes too long. */
void link_waits(void *store, int64_t waited_ms);
/* Every two seconds: this broker lives, its events up to written.until_ms are in the tables; who leads gives up brokers that are gone. */
OTA_MUST_USE enum ota_err link_alive(struct store *store, bool leads, struct ota_why *why);
/* Once a minute: is the audit log what it was, and where does it end?  Kept in the state directory, told under $SYS and in the log. */
OTA_MUST_USE enum ota_err audit_note(struct store *store, struct ota_why *why);
/* fdatasync of the outbox and the figures for $SYS, when it is time for them. */
void link_upkeep(struct store *store);
/* Wake the thread that waits for this eventfd. */
void store_signal(int fd);
