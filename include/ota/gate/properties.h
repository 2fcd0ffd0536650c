/*
 * properties - what an MQTT 5 request says about its answer: response topic and correlation data.
 *
 * No function for reading properties is on every broker.  Mosquitto 2.1 has them.  Those of 2.0 have one layout of the list (the same in
 * all of 2.0.0 to 2.0.21), and properties_init() proves it on a list that the broker itself makes; where that fails nothing is read.
 * Thread: broker.
 * Source: MQTT 5.0, 3.3.2.3.5 and 3.3.2.3.6; lib/property_mosq.h of Mosquitto 2.0.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/gate/compat.h"

enum {
	PROPERTIES_CORRELATION_MAX = 128, /* bytes of correlation data that are taken */
};

/* Of one request; the memory is the caller's, free with properties_clear().  All zero: it says nothing. */
struct properties {
	char *response_topic; /* NULL: none */
	uint8_t *correlation; /* NULL: none */
	uint16_t correlation_length;
};

/* Find out how this broker's properties are read.  False: not at all. */
bool properties_init(bool modern);

/* OTA_ERR_INVALID: correlation data that is too long; OTA_ERR_NOMEM.  `list` may be NULL. */
OTA_MUST_USE enum ota_err properties_read(
	const mosquitto_property *list, struct properties *found, struct ota_why *why);
void properties_clear(struct properties *found);
