/*
 * logring - log lines of the store thread on their way to the broker's log.
 *
 * mosquitto_log_printf() may be called from the broker's thread only, so other threads leave their lines here and the
 * tick writes them.  When full, lines are dropped and counted.
 * Thread: any; the memory is fixed, lines are copied in and out.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "ota/base/error.h"

enum log_level {
	LOG_LEVEL_DEBUG = 0,
	LOG_LEVEL_INFO,
	LOG_LEVEL_NOTICE,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_ERROR
};
enum {
	LOGRING_LINE_MAX = 512
};

struct logring;

/* A ring of `lines` (1..65536) lines, free with logring_free().  NULL: no memory or number out of range. */
OTA_MUST_USE struct logring *logring_new(size_t lines);
void logring_free(struct logring *ring);

/*
 * Add a line, cut to LOGRING_LINE_MAX - 1 bytes.  What printable_make() finds becomes '?': lines carry text of devices, and one
 * with a line end in it could pass for two.
 */
void logring_printf(struct logring *ring, enum log_level level, const char *format, ...)
	OTA_PRINTF(3, 4);
/* Take the oldest line; false: none, nothing is set.  `line` holds LOGRING_LINE_MAX bytes. */
OTA_MUST_USE bool logring_take(struct logring *ring, enum log_level *level, char *line);
/* The number of lines, to be looked at without the lock; it may be a moment old, and lasts as long as the ring. */
const atomic_size_t *logring_count(const struct logring *ring);
/* Lines dropped since the last call. */
size_t logring_take_dropped(struct logring *ring);
