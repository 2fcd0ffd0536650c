/*
 * via - gateways, and the devices that each of them has spoken for in its present session.
 *
 * Who is a gateway comes from the store; of which devices, the store checks with every report.  So what one gateway says here
 * about another's device stays in its own entries, and nothing is delivered by them.
 * Thread: broker.  Owns the names and the entries; an entry is in its session's list, and gone before that session.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ota/base/error.h"
#include "ota/base/table.h"
#include "ota/gate/limit.h"

struct gate;
struct policy_topic;
struct session;

enum {
	VIA_CHILDREN_MAX = 4096, /* devices of one session */
};

struct via_gateway {
	UT_hash_handle hh;
	char name[]; /* key: the identity */
};

/* A device that a gateway has spoken for. */
struct via_child {
	UT_hash_handle hh;
	struct via_child *prev, *next; /* of the same session */
	struct session *session;       /* the gateway's */
	const char *device;            /* inside the key */
	struct limit reports;          /* how often may be reported for it */
	bool listening;                /* the store was told that it can be reached */
	bool answered;                 /* in this session: more was said of it than that it is idle */
	char key[];                    /* gateway, a line end, device */
};

struct via {
	struct via_gateway *gateways;
	bool known; /* the store has said who is one */
	struct via_child *children;
	struct limit_kept limits; /* of reports, for devices whose gateway is away */
};

void via_clear(struct via *via);
/* Replace the gateways by these names, one a line; NULL: none. */
void via_set_gateways(struct via *via, const char *names);

/* May this client report, or ask for blocks, on this topic for another device, as far as is known here? */
OTA_MUST_USE bool via_may_report(
	const struct gate *gate, const char *identity, const struct policy_topic *topic);
/*
 * May this client subscribe by name to another device's notify topic, as a gateway: it is one, or nobody has said yet who is?  For which
 * devices it speaks is not looked at: what it gets is decided when a notice is delivered.
 */
OTA_MUST_USE bool via_may_listen(const struct gate *gate, const char *identity);
/* Note that the gateway speaks for the device.  OTA_ERR_FULL: it has too many; OTA_ERR_NOMEM. */
OTA_MUST_USE enum ota_err via_speaks(
	struct gate *gate, struct session *gateway, const char *device);
/* Tell the store which devices can be reached, when the gateway listens to anything.  Errors of emit_event(). */
OTA_MUST_USE enum ota_err via_confirm(struct gate *gate, struct session *gateway);
/* Does the session wait for its first subscription on behalf of its devices? */
OTA_MUST_USE bool via_waits(const struct session *gateway);
/* The gateway's session is over, and with it those of its devices. */
void via_end(struct gate *gate, struct session *gateway, const char *reason);

/* The entry of a device behind its gateway; NULL: the gateway has not spoken for it. */
struct via_child *via_child_of(const struct via *via, const char *gateway, const char *device);
