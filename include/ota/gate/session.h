/*
 * session - the connected clients that matter here: by connection, and by the device they are.
 *
 * A connection is known by its `struct mosquitto *`, because the client id alone cannot tell a device from somebody who failed
 * to log in under its name.  Contexts are freed and reused, so an entry counts only while client id and identity are still the same.
 * Nothing here calls the broker or reads through the pointer.
 * Thread: broker.  The table owns its sessions and their strings.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/base/set.h"
#include "ota/base/table.h"
#include "ota/gate/limit.h"
#include "ota/wire/topic.h"

struct block_client;
struct mosquitto;
struct via_child;

enum session_told {
	SESSION_UNTOLD = 0, /* the store knows nothing of it */
	SESSION_MAYBE,      /* told as "if this is a device" */
	SESSION_TOLD,       /* told as a device */
};

/* One for each client that matters, so its size counts: a block of 144 bytes with names of a dozen. */
struct session {
	struct mosquitto *client; /* a name for the connection */
	const char *device;       /* the identity, in `client_id`; NULL: it cannot be a device id */
	uint64_t device_hash;     /* keyhash() of it */
	int64_t number;
	char *fleet;                        /* from its subscription, NULL: none */
	struct limit reports;               /* how often it may report */
	struct via_child *children;         /* devices that it speaks for as a gateway; see via.h */
	struct session *prev, *next;        /* in the list of those that wait for the tick */
	struct block_client *block_clients; /* devices that ask for blocks in it; see blocks.h */
	struct limit block_errors;          /* answers without bytes */
	uint32_t children_count;
	uint32_t block_clients_count;
	uint16_t wanted; /* notify topics asked for since the last tick, as bits */
	uint16_t heard;  /* notify topics subscribed to, as bits */
	int8_t notify;   /* the one to use, -1: unknown */
	int8_t wanted_notify;
	uint8_t connected; /* enum session_told */
	bool ended : 1; /* disconnected; kept because a 2.0 broker still shows its context in checks */
	bool is_device : 1; /* subscribed to its notify topic or reported */
	bool kept : 1;      /* came back with subscriptions of an earlier connection */
	bool listening : 1;
	bool left : 1;     /* unsubscribed from its last notify topic */
	bool answered : 1; /* it said more than that it is idle */
	bool pending : 1;  /* waits for the next tick */
	bool present : 1;  /* found by its device */
	char client_id[];  /* and behind it the identity, where that differs */
};

_Static_assert(TOPIC_TEMPLATES_MAX <= 16, "notify topics are bits of 16");

struct sessions {
	struct set by_client;
	struct set by_device;
	struct session *waiting;
	int64_t next_number;
	size_t connected; /* devices the store was told of, and still here */
	size_t listening;
};

void sessions_init(struct sessions *sessions, int64_t wall_ms);
/*
 * It is `wall_ms` now: session numbers are milliseconds x 4096 at least, so that they grow over restarts, and also when a device
 * goes from one broker to another.
 */
void sessions_at(struct sessions *sessions, int64_t wall_ms);
void sessions_clear(struct sessions *sessions);

/* The entry of this connection, whoever it belongs to; NULL: none. */
struct session *sessions_find(const struct sessions *sessions, const struct mosquitto *client);
/* Is the entry still about this client? */
OTA_MUST_USE bool session_is(
	const struct session *session, const char *client_id, const char *identity);
/* A new entry for a connection that has none.  NULL: no memory. */
OTA_MUST_USE struct session *sessions_add(struct sessions *sessions, struct mosquitto *client,
	const char *client_id, const char *identity);
void sessions_remove(struct sessions *sessions, struct session *session);
/* keyhash() of its client id. */
uint64_t session_client_hash(const struct session *session);

/* The connection ended: no longer the device's, nothing waits.  The entry stays. */
void sessions_end(struct sessions *sessions, struct session *session);

/* Make it the device's present session (the newest wins) and count it. */
OTA_MUST_USE enum ota_err sessions_set_connected(
	struct sessions *sessions, struct session *session, enum session_told told);
void sessions_set_listening(struct sessions *sessions, struct session *session, bool listening);
/* The present session of a device; NULL: not connected. */
struct session *sessions_of_device(const struct sessions *sessions, const char *device);

/* Look at it again with the next tick. */
void sessions_wait(struct sessions *sessions, struct session *session);
void sessions_unwait(struct sessions *sessions, struct session *session);
