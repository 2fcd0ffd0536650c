/*
 * window - how much of the broker's thread notices may have at this moment.
 *
 * While nobody else needs it they have all of it: 500 at each turn of the broker's loop, which is some 7 ms until it looks at its sockets
 * again.  As soon as others' messages come they are *held*: 500 in 20 ms, so that the rest of the thread is the others'.  What others want
 * shows only while they have room: whoever waits for an answer before he sends again sends one message a turn, however long that is.
 * So when there is more than a trickle of theirs the notices are held for one window in six, and are let go again only if little came in that one.
 * Thread: broker.  All zero is a window that was never opened.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

enum {
	WINDOW_US = 20000, /* in each of these ... */
	/* ... at most so many messages; each costs the broker about 20 us until its PUBACK is read ... */
	WINDOW_NOTICES = 500,
	/* ... and so much work here, which keeps PINGREQ answered within 100 ms. */
	WINDOW_WORK_US = 4000,
	/* An idle broker ticks every 100 ms only: held, a window that comes late may do the work of up to so long. */
	WINDOW_LATE_US = 60000,
	/* Messages and deliveries of others in a window: so few are nobody that waits for his turn ... */
	WINDOW_OTHERS_FEW = 2,
	/* ... and more than so many, 2 to 3 % of the thread, are others' work. */
	WINDOW_OTHERS_MANY = 40,
	/* What was seen while they were held is believed for so long. */
	WINDOW_BELIEVED_US = 100000,
	/* While others are on their way, so many messages at the end of those that wait go one a turn, for so long at most. */
	WINDOW_SPREAD = 256,
	WINDOW_SPREAD_US = 100000,
};

struct window {
	int64_t began_us;    /* when it was filled last */
	int64_t work_us;     /* what is left in it, of work ... */
	int64_t notices;     /* ... and of messages */
	int64_t look_us;     /* since when others are counted */
	int64_t believed_us; /* when little of others was last seen with notices held */
	int64_t spread_us;   /* since when one goes at a turn, 0: as many as there may */
	unsigned others;     /* messages and deliveries of others since look_us */
	bool watched;        /* something waits, and others are counted */
	bool held;
};

/* Notices begin to wait, or none waits any more: whether others are counted. */
void window_watch(struct window *window, bool watched, int64_t now_us);
/* A message of somebody else came in, or goes out to somebody. */
static inline void window_other(struct window *window)
{
	window->others++;
}
/* Fill the window, if its time has come.  `turn`: this is a new turn of the broker's loop; else it is as if they were held. */
void window_renew(struct window *window, int64_t now_us, bool turn);
/*
 * One has been sent: do the other `waiting` ones wait for the next turn?  `more`: others are on their way.  The acknowledgement of each
 * makes the next turn; an idle broker that has told all of them would sleep for up to 100 ms, with the others in the queue.
 */
OTA_MUST_USE bool window_spread(struct window *window, size_t waiting, bool more, int64_t now_us);
