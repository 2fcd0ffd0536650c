#include "ota/gate/grant.h"

#include <stdlib.h>
#include <string.h>

#include "ota/gate/blocks.h"
#include "ota/gate/state.h"

enum {
	ASK_AGAIN_US = 2000000, /* the store may have been away */
	REFUSED_US = 5000000,   /* what it said is believed for so long */
};

static struct grant *grant_of(const struct grants *grants, const char *device)
{
	struct grant *found = NULL;

	HASH_FIND_STR(grants->by_device, device, found);
	return found;
}

static void drop(struct grants *grants, struct grant *grant)
{
	HASH_DEL(grants->by_device, grant);
	free(grant->via);
	free(grant);
}

static struct grant_rollout *rollout_of(const struct grants *grants, int64_t rollout)
{
	struct grant_rollout *found = NULL;

	HASH_FIND(hh, grants->rollouts, &rollout, sizeof(rollout), found);
	return found;
}

void grants_clear(struct grants *grants)
{
	struct grant *grant = grants->by_device;
	struct grant_rollout *rollout = grants->rollouts;

	/* The tables go, the entries are still chained. */
	HASH_CLEAR(hh, grants->by_device);
	HASH_CLEAR(hh, grants->rollouts);
	while (grant != NULL) {
		struct grant *next = grant->hh.next;

		free(grant->via);
		free(grant);
		grant = next;
	}
	while (rollout != NULL) {
		struct grant_rollout *next = rollout->hh.next;

		free(rollout);
		rollout = next;
	}
}

/* In place of an earlier one.  What cannot be kept for want of memory is asked for again. */
static void put(struct grants *grants, const struct change *change, int64_t session)
{
	size_t length = strlen(change->device);
	struct grant *grant = grant_of(grants, change->device);

	if (grant != NULL) {
		drop(grants, grant);
	}
	grant = calloc(1, sizeof(*grant) + length + 1);
	if (grant == NULL) {
		return;
	}
	if (change->via != NULL && (grant->via = strdup(change->via)) == NULL) {
		free(grant);
		return;
	}
	memcpy(grant->device, change->device, length);
	grant->rollout = change->rollout;
	grant->attempt = change->attempt;
	grant->release_id = change->release_id;
	grant->deadline_ms = change->deadline_ms;
	grant->session = session;
	HASH_ADD_KEYPTR(hh, grants->by_device, grant->device, length, grant);
	if (grant->hh.tbl == NULL) {
		free(grant->via);
		free(grant);
	}
}

void grant_told(struct gate *gate, const struct change *offer, int64_t session)
{
	const struct deliver_release *release;

	if (gate->blocks == NULL) {
		return;
	}
	put(&gate->blocks->grants, offer, session);
	release = deliver_release_of(&gate->deliver, offer->release_id);
	if (release != NULL) {
		blocks_look_for(gate, release);
	}
}

void grant_recalled(struct gate *gate, const char *device, int64_t rollout)
{
	struct grant *grant = gate->blocks == NULL ? NULL : grant_of(&gate->blocks->grants, device);

	if (grant != NULL && grant->rollout == rollout) {
		drop(&gate->blocks->grants, grant);
	}
}

static bool is_last_word(enum report_status status)
{
	switch (status) {
	case REPORT_SUCCESS:
	case REPORT_FAILED:
	case REPORT_ROLLED_BACK:
	case REPORT_REJECTED:
	case REPORT_DEFERRED:
		return true;
	case REPORT_IDLE:
	case REPORT_DOWNLOADING:
	case REPORT_VERIFYING:
	case REPORT_APPLYING:
	case REPORT_REBOOTING:
	case REPORT_STATUS_COUNT:
		return false;
	}
	return false;
}

/* Is this session the device's own, or its gateway's? */
static bool speaks_for(const struct grant *grant, const struct session *session)
{
	return session->device != NULL
		&& (strcmp(session->device, grant->device) == 0 || grant->session == session->number
			|| (grant->via != NULL && strcmp(grant->via, session->device) == 0));
}

void grant_reported(
	struct gate *gate, const struct session *session, const char *device, enum report_status status)
{
	struct block_client *client;
	struct grant *grant;

	if (gate->blocks == NULL || !is_last_word(status)) {
		return;
	}
	grant = grant_of(&gate->blocks->grants, device);
	if (grant == NULL || !speaks_for(grant, session)) {
		return;
	}
	/* The store may not know yet. */
	client = blocks_client(gate->blocks, session, device);
	if (client != NULL) {
		client->over_rollout = grant->rollout;
		client->over_attempt = grant->attempt;
	}
	drop(&gate->blocks->grants, grant);
}

void grant_rollout(struct gate *gate, const struct change *change)
{
	struct grants *grants;
	struct grant_rollout *rollout;
	struct grant *grant;
	struct grant *next;

	if (gate->blocks == NULL) {
		return;
	}
	grants = &gate->blocks->grants;
	rollout = rollout_of(grants, change->rollout);
	if (change->serves && rollout == NULL && (rollout = calloc(1, sizeof(*rollout))) != NULL) {
		rollout->rollout = change->rollout;
		HASH_ADD(hh, grants->rollouts, rollout, sizeof(rollout->rollout), rollout);
		if (rollout->hh.tbl == NULL) {
			free(rollout);
		}
	}
	if (change->serves || rollout == NULL) {
		return;
	}
	HASH_DEL(grants->rollouts, rollout);
	free(rollout);
	HASH_ITER(hh, grants->by_device, grant, next) {
		if (grant->rollout == change->rollout) {
			drop(grants, grant);
		}
	}
}

void grant_updating(struct gate *gate, const struct change *change)
{
	struct session *session;
	struct block_client *client;
	bool own;

	if (gate->blocks == NULL || change->device == NULL) {
		return;
	}
	client = blocks_client_numbered(gate->blocks, change->value, change->device);
	if (client == NULL) {
		return;
	}
	session = client->session;
	own = strcmp(session->device, change->device) == 0;
	if (change->live && (own || (change->via != NULL && strcmp(change->via, session->device) == 0))
		&& (client->over_rollout != change->rollout || client->over_attempt != change->attempt)) {
		put(&gate->blocks->grants, change, session->number);
		client->refused_until_us = 0;
		return;
	}
	client->refused_until_us = gate->clock.mono_us() + REFUSED_US;
}

/* The grant of this session; while the database is away, also that of an earlier one.  NULL: not known. */
static const struct grant *known(const struct gate *gate, const struct block_client *client)
{
	const struct session *session = client->session;
	const struct grant *grant = grant_of(&gate->blocks->grants, client->device);

	if (grant == NULL || grant->session == session->number) {
		return grant;
	}
	return gate->again.away && again_allowed(gate) && speaks_for(grant, session) ? grant : NULL;
}

static enum grant_answer ask_store(
	struct gate *gate, struct block_client *client, const char **reason)
{
	const int64_t now_us = gate->clock.mono_us();

	if (client->refused_until_us > now_us) {
		*reason = "no update of this device is going on";
		return GRANT_NO;
	}
	if (gate->links.updating != NULL
		&& (client->asked_us == 0 || now_us - client->asked_us >= ASK_AGAIN_US)
		&& gate->links.updating(gate->links.context, client->device, client->session->number)
			== OTA_OK) {
		client->asked_us = now_us == 0 ? 1 : now_us;
	}
	return GRANT_LATER;
}

enum grant_answer grant_ask(struct gate *gate, struct block_client *client,
	const struct deliver_release **release, const char **reason)
{
	const struct grant *grant = known(gate, client);
	const int64_t now_ms = gate->clock.wall_ms();
	int64_t expires_ms;

	if (grant == NULL) {
		return ask_store(gate, client, reason);
	}
	if (rollout_of(&gate->blocks->grants, grant->rollout) == NULL) {
		*reason = "the rollout of this device's update is over, or was halted";
		return GRANT_NO;
	}
	*release = deliver_release_of(&gate->deliver, grant->release_id);
	if (*release == NULL) {
		*reason = "the release is not verified here, or was revoked";
		return GRANT_NO;
	}
	expires_ms = (*release)->release->manifest->terms.expires_ms;
	if ((grant->deadline_ms > 0 && now_ms >= grant->deadline_ms + DELIVER_LATE_MS)
		|| (expires_ms > 0 && now_ms >= expires_ms)) {
		*reason = "the deadline of this device's update has passed, or its release has expired";
		return GRANT_NO;
	}
	return GRANT_YES;
}
