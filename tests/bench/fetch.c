/*
 * fetch - many devices without HTTP that fetch an image in blocks over MQTT 3.1.1, for the benchmarks: raw sockets, one thread, epoll.
 *
 * fetch PORT DEVICES IMAGE SHA256 BLOCK WINDOW
 *     DEVICES connections, named device-00001 ..., each subscribed to its notify topic, say that they run 1.0.0.  Prints {"ready": seconds
 *     that took} on a line.  Whoever is told anything asks for IMAGE (a file, to compare with), BLOCK bytes at a time, at most WINDOW
 *     requests ahead, until it has all of it.
 *
 * Prints one JSON object; times in seconds.  Exit status 1 when a byte is wrong, or the broker refuses, closes or falls silent for 60 s.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "packet.h"

enum {
	DEVICES_MAX = 20000,
	BLOCK_MAX = 262144,
	WINDOW_MAX = 8,
	HEADER = 16,
	OUT_BYTES = 8192,
	EVENTS = 256,
	SILENCE_MS = 60000,
	AGAIN_S = 2,
	STATUS_LATER = 4,
};

struct device {
	int fd;
	char name[32];
	bool ready;
	bool told;
	bool wants_out;
	size_t in_length;
	size_t out_length;
	int64_t asked; /* up to here ... */
	int64_t got;   /* ... and this came */
	double again;  /* ask from `got` on then; 0: no */
	double done;
	double heard;
	uint8_t *in;
	uint8_t out[OUT_BYTES];
};

static struct {
	struct device *devices;
	int count;
	int epoll;
	int ready;
	int done;
	const uint8_t *image;
	int64_t size;
	const char *sha256;
	int64_t block;
	int window;
	size_t in_bytes;
	int64_t later;
	int64_t repeated;
	double first;
} all;

static void flush(struct device *device)
{
	size_t done = 0;
	bool blocked = false;

	while (done < device->out_length && !blocked) {
		ssize_t n = write(device->fd, device->out + done, device->out_length - done);

		if (n < 0 && errno != EAGAIN) {
			fail("the broker closed a connection");
		}
		blocked = n < 0;
		done += n > 0 ? (size_t)n : 0;
	}
	memmove(device->out, device->out + done, device->out_length - done);
	device->out_length -= done;
	if (blocked != device->wants_out) {
		struct epoll_event event = { .events = EPOLLIN | (blocked ? EPOLLOUT : 0),
			.data.ptr = device };

		device->wants_out = blocked;
		epoll_ctl(all.epoll, EPOLL_CTL_MOD, device->fd, &event);
	}
}

static void put(struct device *device, int type, const uint8_t *body, size_t length)
{
	if (device->out_length + length + 5 > OUT_BYTES) {
		fail("the broker does not read");
	}
	device->out_length += put_packet(device->out + device->out_length, type, body, length);
}

static void publish(struct device *device, const char *what, const char *payload)
{
	char topic[64];
	uint8_t body[512];
	int length = snprintf(topic, sizeof(topic), "devices/%s/ota/%s", device->name, what);
	size_t n = put_text(body, topic, (size_t)length);

	memcpy(body + n, payload, strlen(payload));
	put(device, PUBLISH, body, n + strlen(payload));
}

static void subscribe(struct device *device)
{
	char topic[64];
	uint8_t body[128] = { 0, 1 };
	int length = snprintf(topic, sizeof(topic), "devices/%s/ota/available", device->name);
	size_t n = 2 + put_text(body + 2, topic, (size_t)length);

	body[n++] = 1;
	put(device, SUBSCRIBE, body, n);
}

static void ask(struct device *device)
{
	char text[192];

	while (device->told && device->again <= 0 && device->asked < all.size
		&& device->asked - device->got < all.window * all.block) {
		(void)snprintf(text, sizeof(text), "{\"sha256\":\"%s\",\"offset\":%lld,\"length\":%lld}",
			all.sha256, (long long)device->asked, (long long)all.block);
		publish(device, "block/get", text);
		device->asked += all.block;
	}
	device->heard = now();
}

static uint64_t integer(const uint8_t *in, size_t size)
{
	uint64_t value = 0;

	for (size_t i = 0; i < size; i++) {
		value = value << 8 | in[i];
	}
	return value;
}

static void take_block(struct device *device, const uint8_t *answer, size_t length)
{
	int64_t offset = (int64_t)integer(answer + 8, 8);
	int64_t bytes = (int64_t)integer(answer + 4, 4);

	if (length < HEADER || answer[0] != 1) {
		fail("an answer is none");
	}
	if (answer[1] == STATUS_LATER) {
		all.later++;
		device->again = now() + (double)integer(answer + 2, 2);
		return;
	}
	if (answer[1] != 0 || bytes != (int64_t)length - HEADER || offset + bytes > all.size) {
		fprintf(stderr, "fetch: status %d, offset %lld, length %lld\n", answer[1],
			(long long)offset, (long long)bytes);
		fail("a request is refused");
	}
	if (offset != device->got) {
		all.repeated++;
		return;
	}
	if (memcmp(all.image + offset, answer + HEADER, (size_t)bytes) != 0) {
		fail("a block has other bytes");
	}
	device->got += bytes;
	if (device->got == all.size) {
		device->done = now();
		all.done++;
	}
}

static void take(struct device *device, int type, const uint8_t *body, size_t length)
{
	size_t topic;
	const uint8_t *payload;

	if ((type & 0xf0) == CONNACK) {
		if (body[1] != 0) {
			fail("the broker refuses a connection");
		}
		subscribe(device);
		publish(device, "status", "{\"version\":\"1.0.0\"}");
	}
	if ((type & 0xf0) == SUBACK) {
		device->ready = true;
		all.ready++;
	}
	if ((type & 0xf0) != PUBLISH) {
		return;
	}
	topic = (size_t)body[0] << 8 | body[1];
	payload = body + 2 + topic;
	if ((type & 6) != 0) {
		put(device, PUBACK, payload, 2);
		payload += 2;
	}
	if (topic > 6 && memcmp(body + 2 + topic - 6, "/block", 6) == 0) {
		take_block(device, payload, length - (size_t)(payload - body));
	} else {
		all.first = all.first > 0 ? all.first : now();
		device->told = true;
	}
	ask(device);
}

static void receive(struct device *device)
{
	ssize_t n = read(device->fd, device->in + device->in_length, all.in_bytes - device->in_length);
	size_t at = 0;

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		fail("the broker closed a connection");
	}
	device->in_length += n > 0 ? (size_t)n : 0;
	while (device->in_length - at >= 2) {
		size_t length = 0;
		size_t header = 1;
		unsigned shift = 0;

		while (at + header < device->in_length && shift < 28) {
			uint8_t byte = device->in[at + header++];

			length |= (size_t)(byte & 127) << shift;
			shift += 7;
			if (byte < 128) {
				shift = 28;
			}
		}
		if (shift < 28 || device->in_length - at < header + length) {
			break;
		}
		take(device, device->in[at], device->in + at + header, length);
		at += header + length;
	}
	memmove(device->in, device->in + at, device->in_length - at);
	device->in_length -= at;
	flush(device);
}

static void turn(int patience_ms)
{
	static double looked;
	static double silent_since;
	struct epoll_event events[EVENTS];
	int count = epoll_wait(all.epoll, events, EVENTS, 500);
	double time = now();

	for (int i = 0; i < count; i++) {
		if (events[i].events & ~(unsigned)EPOLLOUT) {
			receive(events[i].data.ptr);
		} else {
			flush(events[i].data.ptr);
		}
	}
	silent_since = count > 0 || silent_since <= 0 ? time : silent_since;
	if (time - silent_since > patience_ms / 1000.0) {
		fail("the broker is silent");
	}
	if (time - looked < 0.5) {
		return;
	}
	looked = time;
	for (int i = 0; i < all.count; i++) { /* what was put off, or got lost */
		struct device *device = &all.devices[i];

		if (device->told && device->got < all.size
			&& ((device->again > 0 && time >= device->again)
				|| time - device->heard > 10 * AGAIN_S)) {
			device->again = 0;
			device->asked = device->got;
			ask(device);
			flush(device);
		}
	}
}

static void read_image(const char *path)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &status) != 0) {
		fail("the image cannot be read");
	}
	all.size = status.st_size;
	all.image = mmap(NULL, (size_t)all.size, PROT_READ, MAP_SHARED, fd, 0);
	if (all.image == MAP_FAILED) {
		fail("the image cannot be mapped");
	}
	(void)close(fd);
}

static void open_devices(int port)
{
	all.epoll = epoll_create1(EPOLL_CLOEXEC);
	all.devices = calloc((size_t)all.count, sizeof(*all.devices));
	if (all.epoll < 0 || all.devices == NULL) {
		fail("out of memory");
	}
	for (int i = 0; i < all.count; i++) {
		struct device *device = &all.devices[i];
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = device };

		(void)snprintf(device->name, sizeof(device->name), "device-%05d", i + 1);
		device->in = malloc(all.in_bytes);
		if (device->in == NULL) {
			fail("out of memory");
		}
		device->fd = open_socket(port);
		send_connect(device->fd, device->name);
		(void)fcntl(device->fd, F_SETFL, O_NONBLOCK);
		(void)epoll_ctl(all.epoll, EPOLL_CTL_ADD, device->fd, &event);
		while (i % 64 == 63 && all.ready <= i) { /* the broker's backlog is 100 */
			turn(SILENCE_MS);
		}
	}
}

static int compare(const void *left, const void *right)
{
	const struct device *a = left;
	const struct device *b = right;

	return (a->done > b->done) - (a->done < b->done);
}

int main(int argc, char **argv)
{
	double began = now();

	if (argc != 7) {
		fprintf(stderr, "usage: fetch PORT DEVICES IMAGE SHA256 BLOCK WINDOW\n");
		return 2;
	}
	all.count = (int)number(argv[2], 1, DEVICES_MAX);
	read_image(argv[3]);
	all.sha256 = argv[4];
	all.block = number(argv[5], 256, BLOCK_MAX);
	all.window = (int)number(argv[6], 1, WINDOW_MAX);
	all.in_bytes = (size_t)all.block + 16384;
	open_devices((int)number(argv[1], 1, 65535));
	while (all.ready < all.count) {
		turn(SILENCE_MS);
	}
	printf("{\"ready\":%.6f}\n", now() - began);
	(void)fflush(stdout);
	while (all.done < all.count) {
		turn(SILENCE_MS);
	}
	qsort(all.devices, (size_t)all.count, sizeof(*all.devices), compare);
	printf(
		"{\"seconds\":%.6f,\"first_done\":%.6f,\"median_done\":%.6f,\"bytes\":%lld,\"later\":%lld,\"repeated\":%lld}\n",
		all.devices[all.count - 1].done - all.first, all.devices[0].done - all.first,
		all.devices[all.count / 2].done - all.first, (long long)(all.size * all.count),
		(long long)all.later, (long long)all.repeated);
	return 0;
}
