/*
 * gate - what happens on the broker's thread: sessions and presence, the policy on every publish, subscribe and delivery,
 * notices and recalls, figures under $SYS.
 *
 * The gate knows nothing of PostgreSQL: it appends events to a sink and takes changes from a queue.
 * Thread: broker, all of it.  It owns the sessions and the verified releases that the store handed over.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/base/logring.h"
#include "ota/base/queue.h"
#include "ota/wire/block.h"
#include "ota/wire/control.h"
#include "ota/wire/options.h"

/* How the gate reaches the rest; the pointers outlive the gate. */
struct gate_links {
	/*
	 * Append one event record to the outbox.  OTA_OK: it is safe against a kill of the broker.  OTA_ERR_FULL: no room now; the gate refuses the
	 * publish that caused it.
	 */
	enum ota_err (*append)(void *context, const uint8_t *record, size_t length);
	/*
	 * The same for a record that nobody is told is safe: it may wait in memory, bounded, until the next `append` or `flush`, and is lost
	 * with a kill until then.  `flush`: OTA_OK, or what waits goes on waiting.
	 */
	enum ota_err (*gather)(void *context, const uint8_t *record, size_t length);
	enum ota_err (*flush)(void *context);
	/*
	 * Carry out an operator's commands; the request is the taker's on OTA_OK only.  OTA_ERR_UNAVAILABLE: the database is away;
	 * OTA_ERR_FULL: too many wait.  The answer comes through `changes`.  May be NULL: no commands.
	 */
	enum ota_err (*command)(void *context, struct control_request *request);
	/*
	 * Find out whether an update of this device is going on; the answer, CHANGE_UPDATING with the same session number, comes through
	 * `changes`.  Errors as for `command`.  May be NULL: only what was told by this gate is known.
	 */
	enum ota_err (*updating)(void *context, const char *device, int64_t session);
	/* SIGHUP: read the key directory and the credentials of URLs again. */
	void (*reload)(void *context);
	void *context;
	/*
	 * Have a part of an image read; the job stays the gate's, and comes back by `block_take` (NULL: none is ready).  NULL: no
	 * blocks.  `block_context` has ended its work before gate_stop().
	 */
	enum ota_err (*block_submit)(void *block_context, struct block_job *job);
	struct block_job *(*block_take)(void *block_context);
	void *block_context;
	struct queue *changes; /* of struct change; the gate frees what it takes */
	struct logring *log;   /* written to the broker's log by the tick */
};

struct gate;

/*
 * Make the gate and register its callbacks.  `plugin_id` is the mosquitto_plugin_id_t of init.  `modern`: the broker is a 2.1 or later
 * (see gate_broker_is_modern).  On failure nothing stays registered.
 */
OTA_MUST_USE enum ota_err gate_start(void *plugin_id, const struct options *options,
	const struct gate_links *links, bool modern, struct gate **gate, struct ota_why *why);

/* Unregister everything and free; `gate` may be NULL.  Changes still queued stay in the queue. */
void gate_stop(struct gate *gate);

/* Is this broker a 2.1 or later?  Found by registering an event that 2.0 does not have (and unregistering it again). */
OTA_MUST_USE bool gate_broker_is_modern(void *plugin_id);
