#include "timers.h"

#include <stdlib.h>
#include <string.h>

#include "common.h"

void timers_open(struct timers *timers, size_t devices)
{
	*timers = (struct timers){ .room = devices + 16 };
	timers->heap = common_alloc(timers->room, sizeof(*timers->heap));
	timers->stamps = common_alloc(devices * TIMER_KINDS, sizeof(*timers->stamps));
}

void timers_close(struct timers *timers)
{
	free(timers->heap);
	free(timers->stamps);
	*timers = (struct timers){ 0 };
}

static uint32_t *stamp_of(const struct timers *timers, uint32_t device, enum timer_kind kind)
{
	return &timers->stamps[(size_t)device * TIMER_KINDS + (size_t)kind];
}

static void swap_entries(struct timer_entry *a, struct timer_entry *b)
{
	struct timer_entry kept = *a;

	*a = *b;
	*b = kept;
}

void timers_set(struct timers *timers, uint32_t device, enum timer_kind kind, uint64_t due)
{
	if (timers->count == timers->room) {
		struct timer_entry *heap = common_alloc(timers->room * 2, sizeof(*heap));

		memcpy(heap, timers->heap, timers->count * sizeof(*heap));
		free(timers->heap);
		timers->heap = heap;
		timers->room *= 2;
	}
	size_t at = timers->count++;

	timers->heap[at] = (struct timer_entry){
		.due = due,
		.device = device,
		.stamp = ++*stamp_of(timers, device, kind),
		.kind = kind,
	};
	while (at > 0 && timers->heap[(at - 1) / 2].due > timers->heap[at].due) {
		swap_entries(&timers->heap[(at - 1) / 2], &timers->heap[at]);
		at = (at - 1) / 2;
	}
}

void timers_cancel(struct timers *timers, uint32_t device, enum timer_kind kind)
{
	++*stamp_of(timers, device, kind);
}

static struct timer_entry take_first(struct timers *timers)
{
	struct timer_entry first = timers->heap[0];
	size_t at = 0;

	timers->heap[0] = timers->heap[--timers->count];
	for (;;) {
		size_t least = at;

		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < timers->count; child++) {
			if (timers->heap[child].due < timers->heap[least].due) {
				least = child;
			}
		}
		if (least == at) {
			return first;
		}
		swap_entries(&timers->heap[at], &timers->heap[least]);
		at = least;
	}
}

bool timers_next(struct timers *timers, uint64_t now, uint32_t *device, enum timer_kind *kind)
{
	while (timers->count > 0 && timers->heap[0].due <= now) {
		struct timer_entry entry = take_first(timers);

		if (entry.stamp == *stamp_of(timers, entry.device, entry.kind)) {
			*device = entry.device;
			*kind = entry.kind;
			return true;
		}
	}
	return false;
}

uint64_t timers_due(const struct timers *timers)
{
	return timers->count > 0 ? timers->heap[0].due : UINT64_MAX;
}
