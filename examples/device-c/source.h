/*
 * source - where the bytes of an image come from.  source_http.c asks a web server, source_mqtt.c the broker itself, in blocks
 * over MQTT; another one (a modem's own file transfer) implements these two functions.
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

/* What the source says before the first byte. */
struct source_answer {
	uint64_t offset;                       /* of the first byte that comes, or SOURCE_UNKNOWN */
	uint64_t total;                        /* of the whole file, or SOURCE_UNKNOWN */
	char validator[SOURCE_VALIDATOR_SIZE]; /* changes when the file does; "": there is none */
};

struct source_callbacks {
	bool (*on_answer)(const struct source_answer *answer); /* false: do not go on */
	bool (*on_data)(const void *data, size_t size);
	bool (*on_wait)(void); /* called at least ten times a second; false ends the transfer */
};

enum source_result {
	SOURCE_ENDED,  /* everything that was announced has come */
	SOURCE_BROKEN, /* or a callback said no; what has come is good, try again later */
	SOURCE_REFUSED /* pointless to ask again */
};

bool source_open(const struct config *config) __attribute__((warn_unused_result));

/* From `offset` on of `image`, which the notice says is at `url`; with a validator, only if the file is still the same, else from 0. */
enum source_result source_fetch(const char *url, const struct slot *image, uint64_t offset,
	const char *validator, const struct source_callbacks *callbacks);
