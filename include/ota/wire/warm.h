/*
 * warm - one fact of the warm start, as bytes: what a broker keeps of the database for the case that it starts without it.
 *
 * The file around the records is store/warm.h's.  Decoding is a parser: the bytes come from disk and are believed no more than
 * a row of the database, see docs/design/durability.md.
 * Thread: any; pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

enum {
	WARM_RECORD_MAX = 16 << 20 /* bytes; gateways, a line each, are the largest */
};

enum warm_kind {
	/* device: the broker's name; topic: where the database is; version: which one it is */
	WARM_OWNER = 1,
	WARM_CONTACT,  /* at_ms: the database was last there */
	WARM_GATEWAYS, /* text: the clients that may speak for other devices, a line each */
	WARM_RELEASE, /* id and the columns of ota.release, to be verified again; text: the envelope; signature: as hex */
	WARM_ROLLOUT, /* id; live: its notices may be delivered, at_ms: until then (0: no end) */
	WARM_CLAIM, /* device: is told of rollout id, attempt, at_ms: its deadline; and the facts for the last check */
	WARM_URLS, /* text: the URLs of fleets, as fleet_urls_parse() takes them */
	WARM_KIND_MAX = WARM_URLS
};

/* Strings are views; NULL: none, which is not the same as "". */
struct warm_record {
	enum warm_kind kind;
	bool gone; /* the earlier fact of the same key is over; the rest says nothing */
	bool live;
	int64_t id; /* RELEASE: its id; ROLLOUT, CLAIM: the rollout's */
	int64_t release_id;
	int64_t attempt;
	int64_t sequence;
	int64_t size;
	int64_t at_ms;
	const char *device;
	const char *topic;
	const char *fleet;
	const char *hardware;
	const char *via;
	const char *version;
	const char *stage;
	const char *url;
	const char *sha256;
	const char *notes;
	const char *signature;
	const char *text;
};

/* Bytes that warm_encode() will write; more than WARM_RECORD_MAX: it cannot be kept. */
size_t warm_size(const struct warm_record *record);
/* Write the record into `out`, which has warm_size() bytes. */
void warm_encode(const struct warm_record *record, uint8_t *out);
/*
 * Read a record; the strings point into `bytes`, which must stay, are terminated and UTF-8.  OTA_ERR_INVALID for any broken bytes
 * and for facts that lack what their kind needs.  What is accepted encodes to the same bytes.
 */
OTA_MUST_USE enum ota_err warm_decode(
	const uint8_t *bytes, size_t length, struct warm_record *record);
