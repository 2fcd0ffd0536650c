/*
 * report - a device's status messages.
 *
 * Thread: the fleet's.
 */
#pragma once

#include <stdint.h>

#include "verify.h"

struct device;

enum report_status {
	REPORT_NONE,
	REPORT_IDLE,
	REPORT_DOWNLOADING,
	REPORT_VERIFYING,
	REPORT_APPLYING,
	REPORT_REBOOTING,
	REPORT_SUCCESS,
	REPORT_FAILED,
	REPORT_ROLLED_BACK,
	REPORT_REJECTED,
	REPORT_DEFERRED,
	REPORT_COUNT
};

/* The word in the report; "" for REPORT_NONE. */
const char *report_status_name(enum report_status status);

/*
 * Publish a report with QoS 1 and remember it; an outcome also goes to the CSV and the counters.
 * Returns its message id, or 0 when nothing was sent (an article-style device reports only the
 * end).  Without a connection the report waits in the client library.
 */
int report_send(struct device *device, enum report_status status, enum update_error error);

/* The broker acknowledged `message`: put the report on record. */
void report_acknowledged(struct device *device, int message);

/* Forget the reports that wait for an acknowledgement, as a reboot does. */
void report_forget(struct device *device);

/* Say SUCCESS in the name of the neighbour, which is a lie. */
void report_for_another(struct device *device);

/* Publish the last report again, for a broker that asks twice. */
void report_repeat(struct device *device);
