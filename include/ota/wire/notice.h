/*
 * notice - what a device is told: the notice and the recall, as JSON.
 *
 * Thread: any; rendering is on the broker's thread, so the part that all devices share is made once, beforehand.
 * Ownership: templates and payloads are the caller's.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/wire/release.h"

/* Largest payload that is looked into: an envelope, its notes and room. */
enum {
	NOTICE_PAYLOAD_MAX = 524288
};

/* The part of a notice that all devices of a release share, a copy; free with notice_template_free().  OTA_ERR_NOMEM. */
struct notice_template;
OTA_MUST_USE enum ota_err notice_template_make(
	const struct release *release, struct notice_template **out);
void notice_template_free(struct notice_template *notice);

/*
 * One device's notice, members in the contract's order: version, url, sha256, size, releaseNotes, signature, manifest (these three
 * only where there are any), rollout, attempt, stage, deadline.  `stage` valid UTF-8 (NULL: empty), `deadline_ms` since the epoch, written in
 * whole seconds, rounded down.  *payload is malloc'ed, terminated, *length without the zero.  OTA_ERR_NOMEM; OTA_ERR_FULL: it would
 * be larger than NOTICE_PAYLOAD_MAX.
 */
OTA_MUST_USE enum ota_err notice_render(const struct notice_template *notice, int64_t rollout,
	int32_t attempt, const char *stage, int64_t deadline_ms, char **payload, size_t *length);

/* {"action":"cancel","rollout":17,"version":"1.5.0"}; malloc'ed, terminated.  OTA_ERR_NOMEM. */
OTA_MUST_USE enum ota_err notice_render_recall(
	int64_t rollout, const char *version, char **payload, size_t *length);

/*
 * Read back rollout (1 ..) and attempt (1 ..; 0: a recall) of a payload that is about to be delivered, without trusting it: any bytes,
 * strict JSON, at most NOTICE_PAYLOAD_MAX.  OTA_ERR_INVALID: not a notice; OTA_ERR_NOMEM.
 */
OTA_MUST_USE enum ota_err notice_peek(
	const void *payload, size_t length, int64_t *rollout, int32_t *attempt);
