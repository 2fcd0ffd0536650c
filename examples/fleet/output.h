/*
 * output - the files that are written while a run goes on: events, notices, reports.
 *
 * Opened once; the processes of a run append whole lines to them.  Thread: the fleet's.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "ledger.h"
#include "notice.h"
#include "options.h"

struct device;
struct output;

/* Open the files, that of --csv too; NULL after a message. */
struct output *output_open(const struct options *options) __attribute__((warn_unused_result));
void output_close(struct output *output);

/* Where the summary's CSV goes; NULL: nowhere. */
FILE *output_csv(const struct output *output);

/*
 * Note an event of a device's update in the ledger and write it to --events:
 * device,time,rollout,attempt,version,outcome,error.  `error` is a constant.
 */
void output_event(struct device *device, enum event event, const char *error);

/* Append one JSON line for a received notice, recall or invalid message. */
void output_notice(const struct device *device, const char *topic, const struct notice *notice,
	bool duplicate, bool retained);

/* Append the text of a report (JSON) that the broker acknowledged. */
void output_report(const struct device *device, const char *text);
