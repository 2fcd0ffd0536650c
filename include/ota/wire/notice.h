/*
 * notice - what a device is told: the notice and the recall, as JSON.
 *
 * Thread: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/wire/release.h"

/* The part of a notice that all devices of a release share, made once; free with notice_template_free(). */
struct notice_template;
OTA_MUST_USE enum ota_err notice_template_make(const struct release *release, struct notice_template **out);
void notice_template_free(struct notice_template *notice);

/* One device's notice.  `deadline_ms` since the epoch.  *payload is malloc'ed, terminated, *length without the zero. */
OTA_MUST_USE enum ota_err notice_render(const struct notice_template *notice, int64_t rollout, int32_t attempt,
	const char *stage, int64_t deadline_ms, char **payload, size_t *length);

/* {"action":"cancel","rollout":17,"version":"1.5.0"}; malloc'ed. */
OTA_MUST_USE enum ota_err notice_render_recall(
	int64_t rollout, const char *version, char **payload, size_t *length);

/*
 * Read back rollout and attempt of a payload that is about to be delivered (attempt 0: a recall), without trusting it: bounded, any
 * bytes.  OTA_ERR_INVALID: not a notice.
 */
OTA_MUST_USE enum ota_err notice_peek(
	const void *payload, size_t length, int64_t *rollout, int32_t *attempt);
