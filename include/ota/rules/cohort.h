/*
 * cohort - how many devices belong to a stage.
 *
 * Who they are is decided in the database: ordered by ota.cohort_rank(rollout, device), so that 1 % is inside 10 %
 * is inside 50 %, and any broker gets the same devices.
 * Pure, allocates and keeps nothing.  Thread: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ota/base/error.h"

/*
 * The size of a stage's cohort, the earlier stages' devices included: ceil(eligible * percent / 100), at least
 * `min_devices`, at most `eligible`, never less than `chosen` (already in).  The first of several stages never is the
 * whole fleet: at most eligible - 1 when eligible > 1; a plan of one stage (first and last) may be.
 * `eligible` counts the chosen too.  Should the fleet have shrunk below `chosen`, the answer is `chosen`: who is in
 * stays in.  `percent_milli` is thousandths of a percent, 0..100000; no `eligible` overflows.
 * Returns -1 for a negative argument or a percentage out of range.
 */
OTA_MUST_USE int64_t cohort_size(int64_t eligible, int32_t percent_milli, int64_t min_devices,
	bool first, bool last, int64_t chosen);
