/*
 * stage_simulation - one stage of a rollout played device by device, with pacing and verdict as the controller uses
 * them.
 *
 * Pessimistic: whoever has been told runs the firmware, so the devices in flight at the halt count as harmed when they
 * would fail.  Deterministic: the generator is seeded by the caller.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ota/rules/pacing.h"
#include "ota/rules/verdict.h"

/* SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere. */
static inline uint64_t random_next(uint64_t *seed)
{
	uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

struct simulated_stage {
	int64_t devices;
	int64_t bad_ppm; /* each device fails with this probability */
	bool slow_start;
	bool early_halt;
	int32_t threshold_ppm;
};

struct simulated_end {
	struct stage_decision decision;
	int64_t told;
	int64_t harmed; /* told, and failed or about to */
};

/* Devices finish one after the other in the order in which they were told; after each the controller decides. */
static inline struct simulated_end simulate_stage(
	const struct simulated_stage *stage, uint64_t *seed)
{
	const struct stage_limits limits = {
		.threshold_ppm = stage->threshold_ppm,
		.coverage_ppm = 900000,
		.early_halt = stage->early_halt,
	};
	const struct pacing_limits pace = { .slow_start = stage->slow_start };
	struct pacing_state pacing = { 0 };
	struct stage_counts counts = {
		.cohort = stage->devices,
		.added = stage->devices,
		.waiting = stage->devices,
	};
	struct simulated_end end = { .harmed = 0 };
	bool over = false;

	while (!over) {
		int64_t grants = pacing_grants(&pace, &pacing, counts.in_flight, 0, counts.waiting);

		counts.waiting -= grants;
		counts.told += grants;
		counts.in_flight += grants;
		if ((int64_t)(random_next(seed) % VERDICT_PPM) < stage->bad_ppm) {
			counts.failed++;
		} else {
			counts.ok++;
		}
		counts.in_flight--;
		pacing_fold(&pacing, counts.ok, counts.failed);
		/* The wait lasts until everybody has finished, so only a halt ends the stage early. */
		over = counts.ok + counts.failed == stage->devices;
		end.decision = verdict_decide(&limits, &counts, over ? 0 : 1000);
		over = over || end.decision.verdict == VERDICT_HALT;
	}
	end.told = counts.told;
	end.harmed = counts.failed;
	for (int64_t i = 0; i < counts.in_flight; i++) {
		end.harmed += (int64_t)(random_next(seed) % VERDICT_PPM) < stage->bad_ppm ? 1 : 0;
	}
	return end;
}
