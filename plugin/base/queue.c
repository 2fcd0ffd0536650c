#include "ota/base/queue.h"

#include <pthread.h>
#include <stdlib.h>

enum {
	QUEUE_CAPACITY_MAX = 1048576
};

struct queue {
	pthread_mutex_t lock;
	size_t capacity;
	size_t head;         /* index of the oldest item */
	atomic_size_t count; /* changed under the lock only */
	void *items[];
};

struct queue *queue_new(size_t capacity)
{
	struct queue *queue;

	if (capacity < 1 || capacity > QUEUE_CAPACITY_MAX) {
		return NULL;
	}
	queue = calloc(1, sizeof(*queue) + capacity * sizeof(queue->items[0]));
	if (!queue) {
		return NULL;
	}
	if (pthread_mutex_init(&queue->lock, NULL) != 0) {
		free(queue);
		return NULL;
	}
	queue->capacity = capacity;
	return queue;
}

void queue_free(struct queue *queue, void (*release)(void *item))
{
	if (!queue) {
		return;
	}
	for (size_t i = 0; release && i < queue->count; i++) {
		release(queue->items[(queue->head + i) % queue->capacity]);
	}
	(void)pthread_mutex_destroy(&queue->lock);
	free(queue);
}

bool queue_push(struct queue *queue, void *item)
{
	bool pushed = false;

	if (!item) { /* queue_pop() could not tell it from an empty queue */
		return false;
	}
	(void)pthread_mutex_lock(&queue->lock);
	if (queue->count < queue->capacity) {
		queue->items[(queue->head + queue->count) % queue->capacity] = item;
		queue->count++;
		pushed = true;
	}
	(void)pthread_mutex_unlock(&queue->lock);
	return pushed;
}

void *queue_pop(struct queue *queue)
{
	void *item = NULL;

	(void)pthread_mutex_lock(&queue->lock);
	if (queue->count > 0) {
		item = queue->items[queue->head];
		queue->head = (queue->head + 1) % queue->capacity;
		queue->count--;
	}
	(void)pthread_mutex_unlock(&queue->lock);
	return item;
}

size_t queue_length(struct queue *queue)
{
	size_t length;

	(void)pthread_mutex_lock(&queue->lock);
	length = queue->count;
	(void)pthread_mutex_unlock(&queue->lock);
	return length;
}

size_t queue_room(struct queue *queue)
{
	return queue->capacity - queue_length(queue);
}

const atomic_size_t *queue_count(const struct queue *queue)
{
	return &queue->count;
}
