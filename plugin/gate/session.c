#include "ota/gate/session.h"

#include <stdlib.h>
#include <string.h>

#include "ota/wire/topic.h"

void sessions_at(struct sessions *sessions, int64_t wall_ms)
{
	/* 4096 numbers a millisecond: more than a broker can open sessions. */
	int64_t number = (wall_ms > 0 ? wall_ms : 1) * 4096;

	if (number > sessions->next_number) {
		sessions->next_number = number;
	}
}

void sessions_init(struct sessions *sessions, int64_t wall_ms)
{
	memset(sessions, 0, sizeof(*sessions));
	sessions->next_number = 1;
	sessions_at(sessions, wall_ms);
}

static void session_free(struct session *session)
{
	free(session->client_id);
	free(session->device);
	free(session->fleet);
	free(session);
}

void sessions_clear(struct sessions *sessions)
{
	struct session *session = sessions->by_client;

	/* The tables go, the entries are still chained. */
	HASH_CLEAR(hh_device, sessions->by_device);
	HASH_CLEAR(hh, sessions->by_client);
	while (session != NULL) {
		struct session *next = session->hh.next;

		session_free(session);
		session = next;
	}
	sessions->waiting = NULL;
	sessions->connected = 0;
	sessions->listening = 0;
}

struct session *sessions_find(const struct sessions *sessions, const struct mosquitto *client)
{
	struct session *session = NULL;

	HASH_FIND_PTR(sessions->by_client, &client, session);
	return session;
}

bool session_is(const struct session *session, const char *client_id, const char *identity)
{
	if (client_id == NULL || strcmp(session->client_id, client_id) != 0) {
		return false;
	}
	/* The user name may be changed by another plugin while connected. */
	return session->device == NULL || (identity != NULL && strcmp(session->device, identity) == 0);
}

struct session *sessions_add(struct sessions *sessions, struct mosquitto *client,
	const char *client_id, const char *identity)
{
	bool may_be_device = identity != NULL && topic_id_valid(identity, strlen(identity));
	struct session *session = calloc(1, sizeof(*session));

	if (session == NULL) {
		return NULL;
	}
	session->client = client;
	session->notify = -1;
	session->client_id = strdup(client_id);
	if (session->client_id == NULL) {
		goto fail;
	}
	if (may_be_device && (session->device = strdup(identity)) == NULL) {
		goto fail;
	}
	HASH_ADD_PTR(sessions->by_client, client, session);
	if (session->hh.tbl == NULL) {
		goto fail;
	}
	session->number = sessions->next_number++;
	return session;

fail:
	session_free(session);
	return NULL;
}

void sessions_end(struct sessions *sessions, struct session *session)
{
	sessions_unwait(sessions, session);
	sessions_set_listening(sessions, session, false);
	if (session->connected != SESSION_UNTOLD) {
		sessions->connected -= session->connected == SESSION_TOLD ? 1 : 0;
		session->connected = SESSION_UNTOLD;
		/* A newer session of the same device may have taken its place already. */
		if (session->hh_device.tbl != NULL) {
			HASH_DELETE(hh_device, sessions->by_device, session);
			session->hh_device.tbl = NULL;
		}
	}
	session->ended = true;
}

void sessions_remove(struct sessions *sessions, struct session *session)
{
	sessions_end(sessions, session);
	HASH_DEL(sessions->by_client, session);
	session_free(session);
}

enum ota_err sessions_set_connected(
	struct sessions *sessions, struct session *session, enum session_told told)
{
	if (session->hh_device.tbl == NULL) {
		struct session *older = sessions_of_device(sessions, session->device);

		if (older != NULL && older->number > session->number) {
			goto counted;
		}
		if (older != NULL) {
			HASH_DELETE(hh_device, sessions->by_device, older);
			older->hh_device.tbl = NULL;
		}
		HASH_ADD_KEYPTR(
			hh_device, sessions->by_device, session->device, strlen(session->device), session);
		if (session->hh_device.tbl == NULL) {
			return OTA_ERR_NOMEM;
		}
	}
counted:
	if (told == SESSION_TOLD && session->connected != SESSION_TOLD) {
		sessions->connected++;
	}
	session->connected = told;
	return OTA_OK;
}

void sessions_set_listening(struct sessions *sessions, struct session *session, bool listening)
{
	if (listening && !session->listening) {
		sessions->listening++;
	}
	if (!listening && session->listening) {
		sessions->listening--;
	}
	session->listening = listening;
}

struct session *sessions_of_device(const struct sessions *sessions, const char *device)
{
	struct session *session = NULL;

	HASH_FIND(hh_device, sessions->by_device, device, strlen(device), session);
	return session;
}

void sessions_wait(struct sessions *sessions, struct session *session)
{
	if (session->pending) {
		return;
	}
	session->pending = true;
	DL_APPEND(sessions->waiting, session);
}

void sessions_unwait(struct sessions *sessions, struct session *session)
{
	if (!session->pending) {
		return;
	}
	session->pending = false;
	DL_DELETE(sessions->waiting, session);
}
