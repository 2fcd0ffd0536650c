/*
 * presign - the query of a pre-signed GET: AWS Signature Version 4, as S3 and what is compatible with it verify it.
 *
 * Source: AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)", whose example is a test here.
 * Thread: any; nothing is shared.  Nothing here allocates.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/wire/credentials.h"

enum {
	PRESIGN_SECONDS_MAX = 604800, /* seven days: what S3 accepts at most */
	PRESIGN_PATH_MAX = 3072,      /* bytes */
	PRESIGN_HOST_MAX = 320,       /* bytes, with the port */
	PRESIGN_QUERY_MAX = 1024,     /* bytes of the result, with its zero */
	PRESIGN_DATE_SIZE = 9,        /* 20130524 and a zero */
	PRESIGN_KEY_SIZE = 32,
};

/* The signing key of one credential on one day, made when it is first needed; all zero: none yet. */
struct presign_day {
	char date[PRESIGN_DATE_SIZE];
	uint8_t key[PRESIGN_KEY_SIZE];
};

/*
 * Write "X-Amz-Algorithm=...&X-Amz-Signature=..." for GET of `path` at `host` (as in the Host header: lower case, the port only when it is not the
 * scheme's own).  `path` begins with '/', is sent as it is, and is percent-encoded where it has to be.  `now_ms` since the epoch; the URL is good for
 * `seconds`, 1 to PRESIGN_SECONDS_MAX.  `day` is this credential's own.
 * OTA_ERR_INVALID: a '%' that begins no escape, or seconds out of range; OTA_ERR_FULL: path or host is too long; OTA_ERR_NOMEM: from OpenSSL.
 */
OTA_MUST_USE enum ota_err presign_query(const struct credential *credential,
	struct presign_day *day, const char *host, const char *path, int64_t now_ms, int64_t seconds,
	char query[PRESIGN_QUERY_MAX]);
