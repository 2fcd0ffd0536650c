/*
 * metrics - retained figures under $SYS/broker/ota/, for people and exporters without database access.
 *
 * Thread: broker.
 */
#pragma once

#include <stdint.h>

struct gate;

/* Publish the figures that changed; at most every 10 s. */
void metrics_work(struct gate *gate, int64_t now_us);

/* Publish `text` (NULL or "": remove) retained on $SYS/broker/ota/<name>. */
void metrics_publish(const char *name, const char *text);

/* The same for a number. */
void metrics_publish_number(const char *name, int64_t value);
