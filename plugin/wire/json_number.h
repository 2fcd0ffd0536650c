/*
 * json_number - the numbers of JSON texts; private to json.c.
 *
 * Thread: any.
 * Source: RFC 8259, section 6.
 */
#pragma once

#include <stddef.h>

#include <cjson/cJSON.h>

/*
 * Read the number that `text` (up to `size` bytes, no terminator needed) begins with into `item`; *length is set to its characters.
 * NULL: done; otherwise the reason why not.
 */
const char *json_number_read(const char *text, size_t size, cJSON *item, size_t *length);
