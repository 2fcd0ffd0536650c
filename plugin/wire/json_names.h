/*
 * json_names - does an object name a member twice; private to json.c.
 *
 * Thread: any.
 */
#pragma once

#include <stddef.h>

#include <cjson/cJSON.h>

#include "ota/base/error.h"

/*
 * OTA_OK: all names of the object's `members` members differ.  OTA_ERR_INVALID: *name (the object's) stands there more than once.
 * OTA_ERR_NOMEM.
 */
OTA_MUST_USE enum ota_err json_names_duplicate(
	const cJSON *object, size_t members, const char **name);
