/*
 * json - cJSON on a fixed arena: what a stranger sends can use up the arena, and no more than that.
 *
 * json_begin() forgets everything that was parsed or built before; nothing is ever freed one by one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "platform.h"

enum {
	NOTICE_MAX = 32 * 1024,
	RECORD_MAX = NOTICE_MAX * 2 + 4096 /* a notice inside a record: every quote is escaped */
};

#define JSON_EXACT_MAX (UINT64_C(1) << 53) /* beyond it a JSON number is not exact */

void json_begin(void);

/* A member that is a text; NULL when there is none. */
const char *json_text(const cJSON *object, const char *name);
/* Copy a text of at most size - 1 bytes; false when absent or longer. */
bool json_copy(const cJSON *object, const char *name, char *text, size_t size);
/* A member that is a whole number up to JSON_EXACT_MAX. */
bool json_number(const cJSON *object, const char *name, uint64_t *value);
bool json_has(const cJSON *object, const char *name);

/* Read or write a record; reading gives NULL when there is none or it is not an object. */
cJSON *json_read_record(const char *name);
enum platform_result json_write_record(const char *name, cJSON *object);
