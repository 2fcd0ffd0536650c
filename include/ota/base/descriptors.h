/*
 * descriptors - a table of open files for one thread alone.
 *
 * While two threads share the table, the kernel counts a reference for each read() and write() of either: with an idle second
 * thread a relayed message costs the broker 8 to 12 % more (docs/design/performance.md).
 * Thread: any; concerns the caller only.  Owns nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Descriptors that can be kept, standard ones not counted. */
enum {
	DESCRIPTORS_MAX = 16
};

/*
 * Give the calling thread a table of its own with 0, 1, 2 and those in `keep` (at most DESCRIPTORS_MAX, sorted by this call); all
 * others are closed in it and stay open in the others' table.  From here on a number means the same in both only for those kept.
 * False: the kernel does not allow it (a seccomp filter), nothing has changed.
 */
bool descriptors_own(int *keep, size_t count);
