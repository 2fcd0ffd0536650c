/*
 * grant - which image a device may fetch in blocks now.
 *
 * A grant comes with the notice that was sent, or from the store, which is asked when a device comes back in another session (after a
 * reboot, a restart of the broker, from another broker).  It ends with the device's last word on the update, a recall, the deadline, the
 * end of the rollout or of the release.  A paused rollout goes on serving those who were told, as a web server would.
 * Thread: broker.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/base/table.h"
#include "ota/rules/report.h"
#include "ota/wire/change.h"

struct block_client;
struct deliver_release;
struct gate;
struct session;

struct grant {
	int64_t rollout;
	int64_t release_id;
	int64_t session; /* that was told, or that the store was asked for; 0: of before this start */
	int64_t deadline_ms; /* wall clock; 0: none */
	int32_t attempt;
	char *via; /* the device's gateway, NULL: none */
	UT_hash_handle hh;
	char device[]; /* key */
};

/* A rollout whose devices may go on. */
struct grant_rollout {
	int64_t rollout;
	UT_hash_handle hh;
};

struct grants {
	struct grant *by_device;
	struct grant_rollout *rollouts;
};

enum grant_answer {
	GRANT_YES = 0,
	GRANT_NO,
	GRANT_LATER, /* the store is asked */
};

void grants_clear(struct grants *grants);

/* The device was told in this session; `session` 0: before this start. */
void grant_told(struct gate *gate, const struct change *offer, int64_t session);
/* The device was sent, or is owed, the recall of this rollout. */
void grant_recalled(struct gate *gate, const char *device, int64_t rollout);
/* The device said this, by itself or by its gateway, in this session. */
void grant_reported(struct gate *gate, const struct session *session, const char *device,
	enum report_status status);
/* CHANGE_ROLLOUT and CHANGE_UPDATING. */
void grant_rollout(struct gate *gate, const struct change *change);
void grant_updating(struct gate *gate, const struct change *change);

/*
 * May this client fetch now, and which release?  With GRANT_NO `*reason` is set: words for the log and the audit, static.
 */
OTA_MUST_USE enum grant_answer grant_ask(struct gate *gate, struct block_client *client,
	const struct deliver_release **release, const char **reason);
