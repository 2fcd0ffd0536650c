/*
 * cancel - spares a thread that nobody ever cancels the price of being cancellable.
 *
 * In a process with more than one thread glibc (2.36 here, before 2.41) brackets each read(), send() and the like with two locked
 * instructions that switch the thread's cancellation type to asynchronous and back, so that pthread_cancel() could interrupt the call. The
 * broker makes about ten such calls for a message it relays. A thread that is asynchronous already skips both
 * (docs/design/performance.md has the figures); with cancellation disabled as well, nothing can come of it.
 * Thread: any; concerns the caller only.  Owns nothing.
 */
#pragma once

#include <stdbool.h>

/* What the thread had before. */
struct cancel_saved {
	int state;
	int type;
	bool changed;
};

/* Disable cancellation of the calling thread, and its price. POSIX knows no error for these arguments. */
void cancel_never(struct cancel_saved *saved);
/* Put back what cancel_never() found; once, in the same thread. Nothing when it never ran on `saved`, which is then all zero. */
void cancel_restore(struct cancel_saved *saved);
