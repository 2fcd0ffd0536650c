#include "ota/base/logring.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/base/printable.h"

enum {
	LOGRING_LINES_MAX = 65536
};

struct logring_line {
	enum log_level level;
	char text[LOGRING_LINE_MAX];
};

struct logring {
	pthread_mutex_t lock;
	size_t capacity;
	size_t head;         /* index of the oldest line */
	atomic_size_t count; /* changed under the lock only */
	size_t dropped;
	struct logring_line lines[];
};

struct logring *logring_new(size_t lines)
{
	struct logring *ring;

	if (lines < 1 || lines > LOGRING_LINES_MAX) {
		return NULL;
	}
	ring = calloc(1, sizeof(*ring) + lines * sizeof(ring->lines[0]));
	if (!ring) {
		return NULL;
	}
	if (pthread_mutex_init(&ring->lock, NULL) != 0) {
		free(ring);
		return NULL;
	}
	ring->capacity = lines;
	return ring;
}

void logring_free(struct logring *ring)
{
	if (!ring) {
		return;
	}
	(void)pthread_mutex_destroy(&ring->lock);
	free(ring);
}

void logring_printf(struct logring *ring, enum log_level level, const char *format, ...)
{
	char text
		[LOGRING_LINE_MAX]; /* formatted before the lock is taken, so that it is held for a copy only */
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0) {
		text[0] = '\0';
	}
	va_end(args);
	/* Lines carry text of devices and of the database: one with a line end in it could pass for two. */
	printable_make(text);

	(void)pthread_mutex_lock(&ring->lock);
	if (ring->count < ring->capacity) {
		struct logring_line *line = &ring->lines[(ring->head + ring->count) % ring->capacity];

		line->level = level;
		memcpy(line->text, text, strlen(text) + 1);
		ring->count++;
	} else {
		ring->dropped++;
	}
	(void)pthread_mutex_unlock(&ring->lock);
}

bool logring_take(struct logring *ring, enum log_level *level, char *line)
{
	bool taken = false;

	(void)pthread_mutex_lock(&ring->lock);
	if (ring->count > 0) {
		const struct logring_line *oldest = &ring->lines[ring->head];

		*level = oldest->level;
		memcpy(line, oldest->text, strlen(oldest->text) + 1);
		ring->head = (ring->head + 1) % ring->capacity;
		ring->count--;
		taken = true;
	}
	(void)pthread_mutex_unlock(&ring->lock);
	return taken;
}

const atomic_size_t *logring_count(const struct logring *ring)
{
	return &ring->count;
}

size_t logring_take_dropped(struct logring *ring)
{
	size_t dropped;

	(void)pthread_mutex_lock(&ring->lock);
	dropped = ring->dropped;
	ring->dropped = 0;
	(void)pthread_mutex_unlock(&ring->lock);
	return dropped;
}
