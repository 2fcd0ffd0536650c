#include "ota/base/cancel.h"

#include <pthread.h>

void cancel_never(struct cancel_saved *saved)
{
	(void)pthread_setcancelstate(
		PTHREAD_CANCEL_DISABLE, &saved->state); /* first: asynchronous and enabled is never safe */
	(void)pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &saved->type);
	saved->changed = true;
}

void cancel_restore(struct cancel_saved *saved)
{
	if (saved->changed) {
		(void)pthread_setcanceltype(saved->type, NULL);
		(void)pthread_setcancelstate(saved->state, NULL);
		saved->changed = false;
	}
}
