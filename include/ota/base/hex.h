/*
 * hex - bytes as hexadecimal digits, and back.
 *
 * Thread: any; pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

/* The value of a digit of either case; -1: it is none. */
int hex_digit(char digit);

/* Write `size` bytes as lower-case digits and a zero: `out` has 2 * size + 1 bytes. */
void hex_write(const uint8_t *bytes, size_t size, char *out);

/* Read `size` bytes from the first 2 * size digits, of either case.  False: one is no digit, and `bytes` is garbage. */
OTA_MUST_USE bool hex_read(const char *text, size_t size, uint8_t *bytes);
