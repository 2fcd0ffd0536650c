/*
 * clock - the two clocks.
 *
 * Thread: any.
 */
#pragma once

#include <stdint.h>

/* Milliseconds since an arbitrary point; never goes back.  For intervals. */
int64_t clock_mono_ms(void);
/* The same in microseconds. */
int64_t clock_mono_us(void);
/* Milliseconds since the Unix epoch; may jump.  For what people and the database read. */
int64_t clock_wall_ms(void);
