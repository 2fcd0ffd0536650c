/*
 * audit - the hash of a row of the audit log.
 *
 * A row's hash is SHA-256 over the hash of the row before it and over what the row says: docs/design/audit.md, and
 * ota.event_message() in SQL, which must give the same bytes.
 * Thread: an audit_hasher belongs to one thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

enum {
	AUDIT_HASH_BYTES = 32
};

/* UTF-8 texts with their lengths in bytes; text NULL: null. */
struct audit_text {
	const char *text;
	size_t length;
};

struct audit_row {
	int64_t position; /* in its chain, from 1 on */
	int64_t event_id;
	int64_t at_us;   /* microseconds since 1970 */
	int64_t rollout; /* 0: null */
	struct audit_text broker;
	struct audit_text device;
	struct audit_text kind;
	struct audit_text
		detail; /* what detail::text gives, see jsonb.h; kind and detail are never null */
};

struct audit_hasher;

/* NULL: no memory, or OpenSSL has no SHA-256. */
OTA_MUST_USE struct audit_hasher *audit_hasher_new(void);
void audit_hasher_free(struct audit_hasher *hasher);

/*
 * Replace `hash`, that of the row before (of the chain's name before the first one), by this row's.  OTA_ERR_NOMEM: OpenSSL failed,
 * and `hash` is garbage.
 */
OTA_MUST_USE enum ota_err audit_hash(
	struct audit_hasher *hasher, const struct audit_row *row, uint8_t hash[AUDIT_HASH_BYTES]);
