/*
 * notice - what a device is told: the notice and the recall, as JSON.
 *
 * Thread: any, one at a time for a template; rendering is on the broker's thread, so the part that all devices share is made once,
 * beforehand, and what many of them share, once for them.
 * Ownership: templates and recalls are the caller's, a rendered notice is its template's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/wire/release.h"

enum {
	NOTICE_PAYLOAD_MAX = 524288, /* largest payload: an envelope, its notes and room */
	NOTICE_DIGEST_SIZE = 32,
};

/* The part of a notice that all devices of a release share, a copy; free with notice_template_free().  OTA_ERR_NOMEM. */
struct notice_template;
OTA_MUST_USE enum ota_err notice_template_make(
	const struct release *release, struct notice_template **out);
void notice_template_free(struct notice_template *notice);

/* {"action":"cancel","rollout":17,"version":"1.5.0"}; malloc'ed, terminated.  OTA_ERR_NOMEM. */
OTA_MUST_USE enum ota_err notice_render_recall(
	int64_t rollout, const char *version, char **payload, size_t *length);

/* A payload's SHA-256, by which its copies are known again; all other payloads differ (a forged copy is a second preimage). */
struct notice_digest {
	uint8_t bytes[NOTICE_DIGEST_SIZE];
};

struct notice {
	const char *payload; /* terminated */
	size_t length;       /* without the zero */
	struct notice_digest digest;
};

/*
 * One device's notice, members in the contract's order: version, url, sha256, size, releaseNotes, signature, manifest (these three
 * only where there are any), rollout, attempt, stage, deadline.  `url` NULL: the manifest's.  `stage` valid UTF-8 (NULL: empty), `deadline_ms` since
 * the epoch, written in whole seconds, rounded down.  *notice is the template's, until the next call: devices that are told together mostly get the same bytes, and
 * those are made once.  OTA_ERR_NOMEM; OTA_ERR_FULL: it would be larger than NOTICE_PAYLOAD_MAX.
 */
OTA_MUST_USE enum ota_err notice_render(struct notice_template *from, const char *url,
	int64_t rollout, int32_t attempt, const char *stage, int64_t deadline_ms,
	const struct notice **notice);

/* `payload` may be NULL when `length` is 0.  OTA_ERR_NOMEM. */
OTA_MUST_USE enum ota_err notice_digest(
	const void *payload, size_t length, struct notice_digest *digest);
OTA_MUST_USE bool notice_digest_equal(const struct notice_digest *a, const struct notice_digest *b);
