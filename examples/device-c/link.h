/*
 * link - the connection to the broker (libmosquitto, without threads): kept, and made again with growing pauses.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

bool link_open(const struct config *config) __attribute__((warn_unused_result));
void link_close(void); /* an orderly end of the session */

/* Look after the connection for up to `ms`; returns earlier when something has happened. */
void link_service(uint64_t ms);

/* The next message, valid until the next link_service(); NULL: none.  What was taken last may be put back. */
const char *link_take(size_t *size);
void link_put_back(void);

/* Messages on this topic go to `take`, within link_service(), and not to link_take().  No subscription is made. */
void link_route(const char *topic, void (*take)(const void *data, size_t size));

/* Number of the connection that is up and subscribed; 0: there is none. */
unsigned link_session(void);
int link_socket(void); /* -1: none */

/* Publish a report.  True when the broker acknowledged it within `ms`.  Nothing is kept for later: what is true then is said
 * then. */
bool link_report(const char *text, uint64_t ms);

/* Publish a question, QoS 0.  False: there is no connection. */
bool link_ask(const char *topic, const char *text);
