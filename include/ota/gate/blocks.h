/*
 * blocks - images in blocks over MQTT, for devices without HTTP: requests, turns, pace, answers.
 *
 * A device asks on its request topic and is answered by a message to itself alone (QoS 1: Mosquitto leaks directed messages of QoS 0 to
 * kept sessions whose client is away).  What is asked is kept in a short queue of each device; turns go round among devices, a bucket of
 * bytes sets the pace, and the bytes are read by another thread (ota/store/firmware.h) into buffers made here.  Nothing here waits.
 * Thread: broker.  gate->blocks is NULL, and all of this does nothing, without plugin_opt_firmware_directory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/table.h"
#include "ota/gate/compat.h"
#include "ota/gate/grant.h"
#include "ota/gate/limit.h"
#include "ota/gate/properties.h"
#include "ota/wire/block.h"
#include "ota/wire/topic.h"

struct deliver_release;
struct gate;
struct policy_topic;
struct session;

enum {
	BLOCKS_OUTSTANDING = 8,     /* requests of one device that are not answered yet */
	BLOCKS_WAITING_MAX = 32768, /* of all devices */
	BLOCKS_READING = 128,       /* handed to the reading thread */
	BLOCKS_READING_BYTES = 4 << 20,
	BLOCKS_TURNS = 512, /* requests that are read or refused in one go */
	BLOCKS_BURST_MIN =
		64 << 10, /* bytes of a full bucket: a quarter of a second, but no less ... */
	BLOCKS_BURST_MAX =
		1 << 20, /* ... and no more, so that the broker's loop is never held up by much */
	BLOCKS_UNLIMITED = 64 << 20, /* bytes a second with block_bytes_per_second 0 ... */
	BLOCKS_FASTEST = 1 << 30,    /* ... and at most */
};

/* One request. */
struct block_want {
	int64_t release_id;
	int64_t offset;
	uint32_t length;
	struct properties answer; /* how it is to be answered; owned */
};

/* A device that asks in a session: its own, or its gateway's. */
struct block_client {
	UT_hash_handle hh;
	struct session *session;
	const char *device;                           /* inside the key */
	struct block_client *prev, *next;             /* of the same session */
	struct block_client *ready_prev, *ready_next; /* of those with requests that wait */
	struct block_want wants[BLOCKS_OUTSTANDING];  /* a ring */
	size_t first;
	size_t waiting;
	size_t reading;
	int64_t release_id; /* of what it was given in this session ... */
	int64_t given;      /* ... and how many bytes of it */
	int64_t asked_us;   /* when the store was asked for it last; 0: never */
	int64_t refused_until_us;
	int64_t over_rollout; /* the update that ended in this session */
	int32_t over_attempt;
	char key[]; /* number of the session, a line end, device */
};

/* A block that is being read. */
struct block_slot {
	struct block_job job;
	bool busy;
	uint8_t *payload;            /* from the broker's allocator; NULL: a file is looked for */
	struct block_client *client; /* NULL: gone */
	struct block_want want;
};

struct blocks {
	struct grants grants;
	struct block_client *clients;
	struct block_client *ready;
	size_t waiting;
	size_t reading;
	size_t reading_bytes;
	int64_t tokens; /* bytes */
	int64_t filled_us;
	size_t next_looked;
	int64_t looked[32]; /* releases whose file was looked for */
	struct block_slot slots[BLOCKS_READING];
};

/* Make gate->blocks when the options ask for it.  OTA_ERR_NOMEM. */
OTA_MUST_USE enum ota_err blocks_start(struct gate *gate);
/* The reading thread has ended before. */
void blocks_stop(struct gate *gate);

/* A publish on a request topic.  Returns what the callback returns. */
OTA_MUST_USE int blocks_on_message(struct gate *gate, const struct mosquitto_evt_message *message,
	const struct policy_topic *topic);
/* The session is over: whatever was asked in it is forgotten. */
void blocks_session_ends(struct gate *gate, struct session *session);
/* Is there anything to do for blocks_work()? */
static inline bool blocks_busy(const struct blocks *blocks)
{
	return blocks != NULL && (blocks->reading > 0 || blocks->ready != NULL);
}
/* Answer what has been read, and have read what the pace allows. */
void blocks_work(struct gate *gate);

/* For grant.c: have the file of a release looked for before anybody asks, so that the operator learns of a missing one. */
void blocks_look_for(struct gate *gate, const struct deliver_release *release);
/* NULL: it has asked for nothing in this session. */
struct block_client *blocks_client(
	const struct blocks *blocks, const struct session *session, const char *device);
struct block_client *blocks_client_numbered(
	const struct blocks *blocks, int64_t session, const char *device);

/* May this client read this message on a topic of blocks: its own, or that of a device it speaks for, and not a retained one? */
OTA_MUST_USE bool blocks_may_read(const struct gate *gate,
	const struct mosquitto_evt_acl_check *check, const struct policy_topic *topic,
	const char *identity);
