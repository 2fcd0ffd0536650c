/*
 * notice - what a device is told: the notice and the recall, as JSON.
 *
 * Thread: any; rendering is on the broker's thread, so the part that all devices share is made once, beforehand.
 * Ownership: templates and payloads are the caller's.
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

/*
 * One device's notice, members in the contract's order: version, url, sha256, size, releaseNotes, signature, manifest (these three
 * only where there are any), rollout, attempt, stage, deadline.  `url` NULL: the manifest's.  `stage` valid UTF-8 (NULL: empty), `deadline_ms` since
 * the epoch, written in whole seconds, rounded down.  *payload is malloc'ed, terminated, *length without the zero.  OTA_ERR_NOMEM; OTA_ERR_FULL: it would
 * be larger than NOTICE_PAYLOAD_MAX.
 */
OTA_MUST_USE enum ota_err notice_render(const struct notice_template *notice, const char *url,
	int64_t rollout, int32_t attempt, const char *stage, int64_t deadline_ms, char **payload,
	size_t *length);

/* {"action":"cancel","rollout":17,"version":"1.5.0"}; malloc'ed, terminated.  OTA_ERR_NOMEM. */
OTA_MUST_USE enum ota_err notice_render_recall(
	int64_t rollout, const char *version, char **payload, size_t *length);

/* A payload's SHA-256, by which its copies are known again; all other payloads differ (a forged copy is a second preimage). */
struct notice_digest {
	uint8_t bytes[NOTICE_DIGEST_SIZE];
};

/* `payload` may be NULL when `length` is 0.  OTA_ERR_NOMEM. */
OTA_MUST_USE enum ota_err notice_digest(
	const void *payload, size_t length, struct notice_digest *digest);
OTA_MUST_USE bool notice_digest_equal(const struct notice_digest *a, const struct notice_digest *b);
