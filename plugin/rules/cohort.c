#include "ota/rules/cohort.h"

enum {
	WHOLE_MILLI = 100000
}; /* 100 % in thousandths of a percent */

int64_t cohort_size(int64_t eligible, int32_t percent_milli, int64_t min_devices, bool first,
	bool last, int64_t chosen)
{
	int64_t size;

	if (eligible < 0 || percent_milli < 0 || percent_milli > WHOLE_MILLI || min_devices < 0
		|| chosen < 0) {
		return -1;
	}
	/* Whole hundred thousands and the rest apart: eligible * percent_milli could overflow. */
	size = eligible / WHOLE_MILLI * percent_milli
		+ (eligible % WHOLE_MILLI * percent_milli + WHOLE_MILLI - 1) / WHOLE_MILLI;
	if (size < min_devices) {
		size = min_devices;
	}
	if (size > eligible) {
		size = eligible;
	}
	if (first && !last && eligible > 1 && size == eligible) {
		size = eligible - 1;
	}
	/* Who is in stays in, even when the fleet has shrunk since. */
	return size < chosen ? chosen : size;
}
