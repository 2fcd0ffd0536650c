/* What the files of the fold share; see ota/store/fold.h. */
#pragma once

#include <stdbool.h>

#include <cjson/cJSON.h>

#include "ota/base/table.h"
#include "ota/rules/update_state.h"
#include "ota/store/fold.h"
#include "ota/store/pg_binary.h"
#include "ota/wire/audit.h"

enum {
	FOLD_UNCHANGED = -1,
	/* last_seen of a device that is connected and says nothing new is at most so old: its row is not written for every report. */
	FOLD_SEEN_MS = 5000,
};

/* One device of the batch; strings point into events or into the result of broker_read. */
struct fold_device {
	const char *id;
	bool known; /* in ota.device, or to be put there */
	bool is_new;
	bool touched; /* something of its row changes */
	/* new values, NULL or FOLD_UNCHANGED: unchanged */
	const char *fleet;
	const char *fleet_from;
	const char *hardware;
	const char *version;
	const char *topic;
	const char *boot_id; /* reported through its gateway */
	int connected;
	int listening;
	int64_t session;
	int64_t seen_ms;
	/* as read */
	const char *old_fleet_from;
	const char *old_version;
	const char *old_hardware;
	const char *old_boot_id;
	int64_t old_session;
	int64_t old_seen_ms; /* 0: never */
	bool here;           /* connected to this broker, as far as the database knows */
	const char *gateway; /* who may speak for it, NULL: itself only */
	/* its open update; rollout 0: none */
	int64_t rollout;
	struct update_facts facts;
	struct update_limits limits;
	const char *target;  /* the version that it was told of */
	const char *final;   /* the rollout's own, another one on a stepping stone */
	const char *told_by; /* the broker that claimed it last, NULL: none */
	int64_t retell_ms;
	int64_t step_ms; /* time of its last step */
	int failed;      /* attempts that failed in this batch */
	bool update_touched;
	UT_hash_handle hh;
};

/* The arrays that broker_write() takes, in the order of its parameters. */
enum fold_column {
	D_ID,
	D_NEW,
	D_FLEET,
	D_FLEET_FROM,
	D_HARDWARE,
	D_VERSION,
	D_CONNECTED,
	D_LISTENING,
	D_SESSION,
	D_TOPIC,
	D_SEEN,
	D_BOOT,
	U_ROLLOUT,
	U_DEVICE,
	U_STATE,
	U_ATTEMPT,
	U_RETRIES,
	U_FAILED,
	U_TOLD,
	U_BOOTS,
	U_BOOTS_SINCE,
	U_NOT_BEFORE,
	U_DEADLINE,
	U_ERROR,
	U_RETELL,
	U_AT,
	E_AT,
	E_DEVICE,
	E_ROLLOUT,
	E_KIND,
	E_DETAIL,
	S_ID,
	S_SEEN,
	W_COLUMNS, /* that many are always given */
	E_ID = W_COLUMNS,
	E_HASH,
	F_IDS, /* of all devices of the batch, for reading */
	F_COLUMNS
};

struct fold {
	char *broker;
	enum enroll enroll;
	int64_t session_floor;
	struct fold_device *devices; /* hash by id */
	struct fold_device *pool;    /* the same, as an array */
	size_t pool_size;
	bool failed;       /* out of memory in the middle of a batch */
	bool uncertain;    /* the database's words for some detail are not known for certain */
	PGresult *facts;   /* keeps the strings of broker_read alive */
	PGresult *updates; /* the same of broker_updates */
	cJSON *said;       /* keeps bootIds of the batch alive: an array */
	struct audit_hasher *hasher;
	struct pg_binary columns[F_COLUMNS];
};

/* Make room for `count` devices and forget the last batch. */
OTA_MUST_USE enum ota_err fold_rows_begin(struct fold *fold, size_t count);
/* The device of the batch with this id, added when it is not there yet. */
struct fold_device *fold_rows_device(struct fold *fold, const char *id);
/* Read the facts of all devices added so far. */
OTA_MUST_USE enum ota_err fold_rows_read(struct fold *fold, struct pg *pg, struct ota_why *why);
/* Add a row to the audit log; `detail` is JSON, rollout 0: none. */
void fold_rows_audit(struct fold *fold, int64_t at_ms, const char *device, int64_t rollout,
	const char *kind, const char *detail);
/* Audit with a detail made of text members, the last one's name NULL; NULL or "" values are left out. */
void fold_audit(struct fold *fold, const struct event *event, int64_t rollout, const char *kind,
	const char *const members[][2]);
/* Give the device's open update one input; returns whether it was accepted. */
bool fold_advance(struct fold *fold, struct fold_device *device, const struct update_input *input,
	const char *status, struct fold_result *done);
/* What a report says, in the session that it names. */
void fold_report(struct fold *fold, struct fold_device *device, const struct event *event,
	struct fold_result *done);
/* A device was told again while the database was away. */
void fold_told(struct fold *fold, struct fold_device *device, const struct event *event);
/* An event that a gateway sent for one of its devices; refused when the device is not its own. */
void fold_via(struct fold *fold, struct fold_device *device, const struct event *event,
	struct fold_result *done);
/*
 * Number and hash the audit rows of the batch, so that the database need not: where the broker's chain ended goes to `end`, numbers and
 * hashes to their columns.  end->known false: nothing was done, the database has to do it.
 */
struct fold_chain_end {
	bool known;
	char chain[16];
	char position[24];
	char hash[2 * AUDIT_HASH_BYTES + 3]; /* as the text of a bytea */
};
OTA_MUST_USE enum ota_err fold_chain(
	struct fold *fold, struct pg *pg, struct fold_chain_end *end, struct ota_why *why);
/* Write all; sequence 0: none. */
OTA_MUST_USE enum ota_err fold_rows_write(
	struct fold *fold, struct pg *pg, uint64_t sequence, struct ota_why *why);
