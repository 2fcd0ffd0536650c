/*
 * harm_model - whole rollouts played device by device with the plugin's own rules: how often is one halted in which few devices fail?
 *
 * usage: harm_model ROLLOUTS PERMILLE
 * Four stages of a fleet of 10,000 (1, 10, 50 and 100 %), 5 % may fail.  Each rollout is played twice with the same devices failing: with slow
 * start and early halt, and with each stage told at once and judged at its end.  Prints a JSON object; the same figures every time.
 */
#include <inttypes.h>
#include <stdio.h>

#include "packet.h"
#include "rules/stage_simulation.h"

static bool is_halted(int64_t bad_ppm, bool careful, uint64_t seed)
{
	static const int64_t added[] = { 100, 900, 4000, 5000 };

	for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++) {
		const struct simulated_stage stage = {
			.devices = added[i],
			.bad_ppm = bad_ppm,
			.slow_start = careful,
			.early_halt = careful,
			.threshold_ppm = 950000,
		};

		if (simulate_stage(&stage, &seed).decision.verdict == VERDICT_HALT) {
			return true;
		}
	}
	return false;
}

int main(int argc, char **argv)
{
	int64_t rollouts = argc == 3 ? number(argv[1], 1, 10000000) : 0;
	int64_t bad_ppm = argc == 3 ? number(argv[2], 0, 1000) * 1000 : 0;
	int64_t careful = 0;
	int64_t at_once = 0;

	if (argc != 3) {
		fputs("usage: harm_model ROLLOUTS PERMILLE\n", stderr);
		return 2;
	}
	for (int64_t i = 0; i < rollouts; i++) {
		uint64_t seed = UINT64_C(20260131) + (uint64_t)i * UINT64_C(0x2545f4914f6cdd1d);

		careful += is_halted(bad_ppm, true, seed) ? 1 : 0;
		at_once += is_halted(bad_ppm, false, seed) ? 1 : 0;
	}
	printf("{\"rollouts\":%" PRId64 ",\"halted\":%" PRId64 ",\"halted_at_once\":%" PRId64 "}\n",
		rollouts, careful, at_once);
	return 0;
}
