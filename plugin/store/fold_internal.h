/* What fold.c and fold_rows.c share; see ota/store/fold.h. */
#pragma once

#include <stdbool.h>

#include <cjson/cJSON.h>

#include "ota/base/table.h"
#include "ota/rules/update_state.h"
#include "ota/store/fold.h"
#include "ota/store/pg_array.h"

enum {
	FOLD_UNCHANGED = -1
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
	const char *old_boot_id;
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

enum fold_device_column {
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
	D_COLUMNS
};
enum fold_update_column {
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
	U_COLUMNS
};
enum fold_event_column {
	E_AT,
	E_DEVICE,
	E_ROLLOUT,
	E_KIND,
	E_DETAIL,
	E_COLUMNS
};

struct fold {
	char *broker;
	enum enroll enroll;
	int64_t session_floor;
	struct fold_device *devices; /* hash by id */
	struct fold_device *pool;    /* the same, as an array */
	size_t pool_size;
	bool failed;     /* out of memory in the middle of a batch */
	PGresult *facts; /* keeps the strings of broker_read alive */
	cJSON *said;     /* keeps bootIds of the batch alive: an array */
	struct pg_array ids;
	struct pg_array device_columns[D_COLUMNS];
	struct pg_array update_columns[U_COLUMNS];
	struct pg_array event_columns[E_COLUMNS];
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
/* Write all; sequence 0: none. */
OTA_MUST_USE enum ota_err fold_rows_write(
	struct fold *fold, struct pg *pg, uint64_t sequence, struct ota_why *why);
