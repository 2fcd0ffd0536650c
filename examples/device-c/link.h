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

/*
 * The next message, valid until the next link_service(); NULL: none.  What was taken last may be put back.  What source_message()
 * wants is not among them.
 */
const char *link_take(size_t *size);
void link_put_back(void);

/* Number of the connection that is up and subscribed; 0: there is none. */
unsigned link_session(void);
int link_socket(void); /* -1: none */

/*
 * Publish on devices/<id>/ota/<what>.  True when it went out and, unless `ms` is 0, the broker acknowledged it within `ms`.  Nothing
 * is kept for later: what is true then is said then.
 */
bool link_publish(const char *what, const char *text, int qos, uint64_t ms);
