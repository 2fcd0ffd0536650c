/*
 * change - what the store tells the gate.
 *
 * A change is one malloc'ed object; whoever takes it from the queue frees it with change_free().
 * Thread: made by the store, freed by the gate (or by whoever drains the queue at the end).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/wire/fleet_url.h"
#include "ota/wire/release.h"

enum change_kind {
	CHANGE_OFFER = 1, /* tell this device, once */
	CHANGE_RECALL,    /* tell this device that the offer is off */
	CHANGE_RELEASE,   /* a release verified by this process: offers name it by id */
	CHANGE_RELEASE_GONE,
	CHANGE_ROLLOUT,  /* state of a rollout, and its JSON for $SYS */
	CHANGE_DATABASE, /* PostgreSQL came or went; text says so */
	CHANGE_AUDIT,    /* where the audit log ends; text says so */
	CHANGE_METRIC,   /* one figure for $SYS/broker/ota/<text> */
	CHANGE_RESPONSE, /* the answer to an operator's commands */
	CHANGE_PUSHED,   /* what became of an update that a back end published */
	CHANGE_GATEWAYS, /* all clients that may speak for other devices */
	CHANGE_UPDATING, /* whether a device's update is going on, as it was asked */
	CHANGE_URLS,     /* the URLs of all fleets that have one */
	CHANGE_CLAIM, /* as OFFER, of a device that was told before this start: to be told again only while the database is away */
};

struct change {
	enum change_kind kind;
	char *device; /* OFFER, RECALL; RESPONSE, PUSHED: the MQTT client that asked */
	/* OFFER, RECALL: topic it subscribed to when last seen, NULL: unknown; PUSHED: where it was published */
	char *topic;
	char *fleet; /* OFFER: facts for the last check of eligibility */
	char *hardware;
	char *via;     /* OFFER, RECALL, UPDATING: the device's gateway, NULL: none */
	char *version; /* OFFER: what it runs; RECALL: the release's version */
	char *stage;   /* OFFER: label */
	/* ROLLOUT: JSON; DATABASE, AUDIT: JSON; METRIC: name below $SYS/broker/ota/; RESPONSE: JSON; PUSHED: why it was refused, NULL: taken; GATEWAYS: one a line */
	char *text;
	int64_t sequence; /* OFFER: the device's */
	int64_t rollout;
	int32_t attempt;
	int64_t release_id;
	int64_t deadline_ms;
	int64_t
		by_ms; /* OFFER: monotonic clock; from then on the device is no longer told but given back, 0: no end */
	/* ROLLOUT: until then its notices may be delivered, 0: no end; DATABASE, when away: until then devices may be told again */
	int64_t until_ms;
	int64_t since_ms; /* DATABASE, when away: it was there then; an earlier clock is not believed */
	bool again;       /* OFFER: told before, told again while the database is away */
	bool more;        /* OFFER: others come in a moment, the next page of a stage */
	bool live;   /* ROLLOUT: notices of it may be delivered; DATABASE: connected; UPDATING: it is */
	bool serves; /* ROLLOUT: devices that were told of it may go on with their updates */
	int64_t value;              /* METRIC; UPDATING: the number of the session that asked */
	struct release *release;    /* RELEASE: owned by the change until taken (set to NULL) */
	struct fleet_urls *urls;    /* URLS: the same */
	struct change *prev, *next; /* among those that wait in the gate */
};

/* A zeroed change of this kind, the caller's until it is queued; NULL: no memory. */
OTA_MUST_USE struct change *change_new(enum change_kind kind);
/* Frees the change and all it holds, also a release that was not taken; NULL is fine. */
void change_free(struct change *change);
