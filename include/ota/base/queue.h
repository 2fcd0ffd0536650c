/*
 * queue - a bounded queue of pointers between two threads.
 *
 * Thread: any; one lock, held for a pointer move only.  Ownership of an item passes to the queue when queue_push() returns
 * true, and to the caller with queue_pop().
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "ota/base/error.h"

struct queue;

/* A queue of at most `capacity` (1..1048576) items, free with queue_free(); NULL: no memory or capacity out of range. */
OTA_MUST_USE struct queue *queue_new(size_t capacity);
/*
 * Frees the queue (may be NULL) and gives each item left to `release`, oldest first; `release` NULL: the items are not
 * the queue's to free.  No other thread may use the queue any more.
 */
void queue_free(struct queue *queue, void (*release)(void *item));

/* Adds an item (not NULL).  False: full, the item stays the caller's. */
OTA_MUST_USE bool queue_push(struct queue *queue, void *item);
/* Takes the oldest item, which is the caller's from now on; NULL: empty.  Never waits. */
OTA_MUST_USE void *queue_pop(struct queue *queue);
/* How many items are in it, and how many more it takes; a moment later both may differ. */
size_t queue_length(struct queue *queue);
size_t queue_room(struct queue *queue);
/*
 * The number of items, to be looked at without the lock and without a call, for whoever asks with every message of others.  It may be a
 * moment old, and lasts as long as the queue.
 */
const atomic_size_t *queue_count(const struct queue *queue);
