/*
 * source - where the bytes of an image come from.  source_http.c asks a web server, source_mqtt.c the broker itself, in blocks
 * over MQTT; another one (a modem's own file transfer) implements the source_... functions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bootctl.h"
#include "config.h"

enum {
	SOURCE_VALIDATOR_SIZE = 256
};

#define SOURCE_UNKNOWN UINT64_MAX

enum source_result {
	SOURCE_ENDED,  /* everything that was announced has come */
	SOURCE_BROKEN, /* or download.c said no; what has come is good, try again later */
	SOURCE_REFUSED /* pointless to ask again */
};

bool source_open(const struct config *config) __attribute__((warn_unused_result));

/* From `offset` on of `image`, which the notice says is at `url`; with a validator, only if the file is still the same, else from 0. */
enum source_result source_fetch(
	const char *url, const struct slot *image, uint64_t offset, const char *validator);

/* A message from the broker.  True: it was for the source, which has no pointer into it any more. */
bool source_message(const char *topic, const void *data, size_t size);

/*
 * What source_fetch() calls, in download.c; false ends the transfer.  Once before the first byte, with the offset of that byte and
 * the size of the whole file, or SOURCE_UNKNOWN, and a validator, which changes when the file does ("": there is none); then with
 * the bytes in their order; and at least ten times a second, whether something comes or not.
 */
bool download_begin(uint64_t offset, uint64_t total, const char *validator);
bool download_take(const void *data, size_t size);
bool download_wait(void);
