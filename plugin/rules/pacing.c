#include "ota/rules/pacing.h"

static int64_t minimum(int64_t left, int64_t right)
{
	return left < right ? left : right;
}

void pacing_fold(struct pacing_state *state, int64_t ok, int64_t bad)
{
	int64_t window = state->window;

	ok = ok < 0 ? 0 : ok;
	bad = bad < 0 ? 0 : bad;
	for (int64_t i = state->seen_bad; i < bad && window > 1; i++) {
		window /= 2;
	}
	if (window < 1) {
		window = 1;
	}
	if (ok > state->seen_ok) {
		/* Compared before the addition: a counter may be anything. */
		int64_t more = ok - (state->seen_ok < 0 ? 0 : state->seen_ok);

		window = more > PACING_WINDOW_MAX - window ? PACING_WINDOW_MAX : window + more;
	}
	state->window = (int32_t)minimum(window, PACING_WINDOW_MAX);
	/* Follow the counters down too (an operator's retry takes an outcome back), or the next ones would not be seen. */
	state->seen_ok = ok;
	state->seen_bad = bad;
}

int64_t pacing_grants(const struct pacing_limits *limits, const struct pacing_state *state,
	int64_t in_flight, int64_t told_last_minute, int64_t waiting)
{
	int64_t grants = waiting;

	if (in_flight < 0 || told_last_minute < 0 || waiting < 0 || limits->max_in_flight < 0
		|| limits->per_minute < 0) {
		return 0;
	}
	if (limits->slow_start) {
		grants = minimum(grants, (state->window < 1 ? 1 : state->window) - in_flight);
	}
	if (limits->max_in_flight > 0) {
		grants = minimum(grants, limits->max_in_flight - in_flight);
	}
	if (limits->per_minute > 0) {
		grants = minimum(grants, limits->per_minute - told_last_minute);
	}
	return grants < 0 ? 0 : grants;
}
