/*
 * output - the live line, the tables, the CSV of outcomes and the record of notices.
 *
 * Thread: the fleet's.
 */
#pragma once

#include <stdbool.h>

#include "notice.h"
#include "options.h"

struct device;
struct fleet;
struct output;

/* Open the files; NULL after a message. */
struct output *output_open(const struct options *options) __attribute__((warn_unused_result));
void output_close(struct output *output);

/*
 * Count an event of a device's update and write it to the CSV:
 * device,time,rollout,attempt,version,outcome,error.  `name` and `error` are constants.
 */
void output_event(struct device *device, const char *name, const char *error);

/* Append one JSON line for a received notice, recall or invalid message. */
void output_notice(const struct device *device, const char *topic, const struct notice *notice,
	bool duplicate, bool retained);

/* Append the text of a report (JSON) that the broker acknowledged. */
void output_report(const struct device *device, const char *text);

/* Called at every tick; prints when it is time. */
void output_progress(struct fleet *fleet);

/* All devices have connected for the first time. */
void output_connected(struct fleet *fleet);

/* The table of SIGUSR1, and the same as the summary at the end. */
void output_table(struct fleet *fleet);
void output_finish(struct fleet *fleet);
