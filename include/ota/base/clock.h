/*
 * clock - the two clocks: one for intervals, one for people.
 *
 * Thread: any; no memory, no errors (POSIX has both clocks).
 */
#pragma once

#include <stdint.h>

/* Milliseconds since an arbitrary point (the boot); never goes back, does not count sleep.  For intervals. */
int64_t clock_mono_ms(void);
/* The same clock in microseconds. */
int64_t clock_mono_us(void);
/* The same clock as of the kernel's last timer interrupt, 1 to 10 ms behind and a quarter of the price. */
int64_t clock_coarse_us(void);
/* Milliseconds since the Unix epoch; may jump.  For what people and the database read. */
int64_t clock_wall_ms(void);
