/*
 * state - the gate's own state, shared by its modules only.
 *
 * Thread: broker.  Owned by gate_start()/gate_stop().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/gate/address.h"
#include "ota/gate/again.h"
#include "ota/gate/blocks.h"
#include "ota/gate/compat.h"
#include "ota/gate/deliver.h"
#include "ota/gate/gate.h"
#include "ota/gate/limit.h"
#include "ota/gate/policy.h"
#include "ota/gate/session.h"
#include "ota/gate/via.h"
#include "ota/wire/event.h"

enum {
	GATE_SEEN = 4096,
	GATE_LIMITS = 4096, /* a power of two */
	/* Without anything to do, each so many ticks still look at the clock: every 3 s in an idle broker.  A power of two. */
	GATE_TICK_RARE = 32,
};

/* The clocks, so that tests can turn them. */
struct gate_clock {
	int64_t (*mono_us)(void);
	int64_t (*coarse_us)(void); /* for the tick, which may come with every message */
	int64_t (*wall_ms)(void);
};

/* A client's bucket of recorded refusals; see emit.c. */
struct gate_refusals {
	struct limit limit;
	int64_t suppressed; /* since the last recorded one */
};

struct gate_counters {
	int64_t reports_received;
	int64_t reports_malformed;
	int64_t reports_refused;
	int64_t reports_limited;
	int64_t denied;
	int64_t notices_sent;
	int64_t recalls_sent;
	int64_t undelivered;
	int64_t events_lost;
	int64_t blocks_sent;
	int64_t block_bytes;
};

enum {
	METRICS_COUNT = 13
};

struct gate {
	struct policy policy;
	int others; /* the answer for topics that are not ours */
	int watched; /* accesses that may show a kept session, as bits; 0 on 2.1, which has the CONNECT event */
	int closer; /* accesses that take more than a look at the topic, as bits: those, subscribing, and deliveries while notices wait */
	bool modern;
	bool tick_dead; /* no tick comes: the other callbacks do its work */
	bool attentive; /* take_ours() in report.c wants to see every message */
	bool ticked;
	bool gathered; /* events may wait for emit_flush() */
	unsigned ticks;
	unsigned
		rare; /* while one of these bits of `ticks` is set, a tick without anything to do does nothing */
	const struct mosquitto
		*seen[GATE_SEEN]; /* connections already looked at; a cache, collisions only cost time */
	const struct options *options;
	struct gate_links links;
	const atomic_size_t
		*changes_waiting; /* in links.changes and links.log: what the tick goes by */
	const atomic_size_t *lines_waiting;
	mosquitto_plugin_id_t *plugin_id;
	size_t registered; /* callbacks registered, in the table's order */
	struct gate_clock clock;
	struct sessions sessions;
	struct deliver deliver;
	struct again again;
	struct via via;
	struct blocks *blocks;   /* NULL: no images are served in blocks */
	struct fleet_urls *urls; /* NULL: none */
	struct address
		address; /* of the notice being made; on the stack it would be cleared each time */
	char topic[TOPIC_MAX]; /* of the event being made; here for the same reason */
	int64_t url_logged_us; /* 0: never */
	struct limit refusals_all;
	struct gate_refusals refusals[GATE_LIMITS];
	struct limit_kept limits; /* of reports, of clients that are away */
	char hidden[17];          /* the name of intercepted pushes, see push.c */
	struct gate_counters counters;
	int64_t metrics_last[METRICS_COUNT];
	int64_t metrics_at_us;
	int64_t worked_us;
	int64_t first_report_us;
	int64_t full_logged_us; /* 0: never */
	uint8_t record[EVENT_RECORD_MAX];
};

/* What the tick does; at most every 10 ms. */
void gate_work(struct gate *gate);

/* Write a line to the broker's log, with the plugin's prefix. */
void gate_log(int level, const char *format, ...) OTA_PRINTF(2, 3);

/* The authenticated name that counts as device id; NULL: it has none. */
const char *gate_identity(const struct gate *gate, const struct mosquitto *client);

/* Where a connection stands in the cache of those already looked at. */
static inline size_t gate_seen_slot(const struct mosquitto *client)
{
	uintptr_t number = (uintptr_t)client;

	return (number >> 6 ^ number >> 16) & (GATE_SEEN - 1);
}
