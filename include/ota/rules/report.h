/*
 * report - the words that a device may use for its status.
 *
 * Pure.  Thread: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ota/base/error.h"

enum report_status {
	REPORT_IDLE = 0, /* a plain report; also when the member is absent */
	REPORT_DOWNLOADING,
	REPORT_VERIFYING,
	REPORT_APPLYING,
	REPORT_REBOOTING,
	REPORT_SUCCESS,
	REPORT_FAILED,
	REPORT_ROLLED_BACK,
	REPORT_REJECTED, /* the device declines; never asked again in this rollout */
	REPORT_DEFERRED, /* busy; asked again later */
	REPORT_STATUS_COUNT
};

/*
 * Find the status by name, in any letter case (ASCII only, whatever the locale); `length` bytes, not terminated.
 * False: unknown, or `text` is NULL; `status` is then unchanged.
 */
OTA_MUST_USE bool report_status_parse(const char *text, size_t length, enum report_status *status);

/* The name in capitals, as in the contract.  Static; never NULL. */
const char *report_status_name(enum report_status status);
