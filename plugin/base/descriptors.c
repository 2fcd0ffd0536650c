#include "ota/base/descriptors.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

static int compare(const void *left, const void *right)
{
	const int *a = left;
	const int *b = right;

	return (*a > *b) - (*a < *b);
}

bool descriptors_own(int *keep, size_t count)
{
	unsigned first = STDERR_FILENO + 1;

	if (count > DESCRIPTORS_MAX) {
		return false;
	}
	/* By a call of its own: what runs the program (valgrind does) may answer close_range() itself, and not know the flag. */
	if (unshare(CLONE_FILES) != 0) {
		return false;
	}
	if (count > 0) { /* there may be no array then, which qsort() does not allow */
		qsort(keep, count, sizeof(keep[0]), compare);
	}
	for (size_t i = 0; i < count; i++) {
		if (keep[i] >= 0 && (unsigned)keep[i] >= first) {
			if ((unsigned)keep[i] > first) {
				(void)close_range(first, (unsigned)keep[i] - 1, 0);
			}
			first = (unsigned)keep[i] + 1;
		}
	}
	(void)close_range(first, UINT_MAX, 0);
	return true;
}
