#include "ota/gate/session.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "ota/base/keyhash.h"

static uint64_t hash_client(const void *item)
{
	return keyhash_address(((const struct session *)item)->client);
}

static bool is_client(const void *item, const void *client)
{
	return ((const struct session *)item)->client == client;
}

static uint64_t hash_device(const void *item)
{
	return ((const struct session *)item)->device_hash;
}

static bool is_device(const void *item, const void *device)
{
	return strcmp(((const struct session *)item)->device, device) == 0;
}

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
	free(session->fleet);
	free(session);
}

void sessions_clear(struct sessions *sessions)
{
	struct session *session;
	size_t at = 0;

	while ((session = set_next(&sessions->by_client, &at)) != NULL) {
		session_free(session);
	}
	set_clear(&sessions->by_device);
	set_clear(&sessions->by_client);
	sessions->waiting = NULL;
	sessions->connected = 0;
	sessions->listening = 0;
}

struct session *sessions_find(const struct sessions *sessions, const struct mosquitto *client)
{
	return set_find(&sessions->by_client, keyhash_address(client), is_client, client);
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
	size_t id_size = strlen(client_id) + 1;
	size_t length = identity == NULL ? 0 : strlen(identity);
	bool may_be_device = length > 0 && topic_id_valid(identity, length);
	bool same = may_be_device && strcmp(client_id, identity) == 0;
	size_t size =
		offsetof(struct session, client_id) + id_size + (may_be_device && !same ? length + 1 : 0);
	struct session *session =
		calloc(1, size < sizeof(struct session) ? sizeof(struct session) : size);

	if (session == NULL) {
		return NULL;
	}
	session->client = client;
	session->notify = -1;
	memcpy(session->client_id, client_id, id_size);
	if (may_be_device) {
		session->device =
			same ? session->client_id : memcpy(session->client_id + id_size, identity, length + 1);
		session->device_hash = keyhash(identity, length);
	}
	if (set_add(&sessions->by_client, hash_client, session) != OTA_OK) {
		session_free(session);
		return NULL;
	}
	session->number = sessions->next_number++;
	return session;
}

uint64_t session_client_hash(const struct session *session)
{
	return session->device == session->client_id
		? session->device_hash
		: keyhash(session->client_id, strlen(session->client_id));
}

static void forget_device(struct sessions *sessions, struct session *session)
{
	if (session->present) {
		set_remove(&sessions->by_device, hash_device, session);
		session->present = false;
	}
}

void sessions_end(struct sessions *sessions, struct session *session)
{
	sessions_unwait(sessions, session);
	sessions_set_listening(sessions, session, false);
	if (session->connected != SESSION_UNTOLD) {
		sessions->connected -= session->connected == SESSION_TOLD ? 1 : 0;
		session->connected = SESSION_UNTOLD;
		/* A newer session of the same device may have taken its place already. */
		forget_device(sessions, session);
	}
	session->ended = true;
}

void sessions_remove(struct sessions *sessions, struct session *session)
{
	sessions_end(sessions, session);
	set_remove(&sessions->by_client, hash_client, session);
	session_free(session);
}

enum ota_err sessions_set_connected(
	struct sessions *sessions, struct session *session, enum session_told told)
{
	if (!session->present) {
		struct session *older =
			set_find(&sessions->by_device, session->device_hash, is_device, session->device);

		if (older != NULL && older->number > session->number) {
			goto counted;
		}
		if (older != NULL) {
			forget_device(sessions, older);
		}
		if (set_add(&sessions->by_device, hash_device, session) != OTA_OK) {
			return OTA_ERR_NOMEM;
		}
		session->present = true;
	}
counted:
	if (told == SESSION_TOLD && session->connected != SESSION_TOLD) {
		sessions->connected++;
	}
	session->connected = (uint8_t)told;
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
	return set_find(&sessions->by_device, keyhash(device, strlen(device)), is_device, device);
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
