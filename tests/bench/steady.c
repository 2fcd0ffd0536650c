/*
 * steady - an MQTT 3.1.1 publisher at a fixed rate, and how long each PUBACK takes, second by second.
 *
 * steady PORT CLIENTS RATE TOPIC PAYLOAD
 *     CLIENTS connections, named steady-00001 ..., together publish RATE messages a second, QoS 1, in turn.  In TOPIC {} stands for the client's
 *     name; in PAYLOAD for the number of the message.  Until something comes on the standard input; then it waits for what is outstanding.
 *
 * A message's time runs from the moment at which it was due, not from when it could be sent: a broker that stands still makes all
 * messages late that were due meanwhile.  Prints "ready", then a line of JSON a second: "at" (wall clock of its begin), "acknowledged" so
 * far, and "times": pairs of a bucket and how many PUBACKs of this second fell into it.  Bucket b holds times of up to 2^(b/32) us.
 * The last line has "end".  Exit status 1 when the broker refuses, closes or leaves a message unacknowledged for 30 s.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "packet.h"

enum {
	CLIENTS_MAX = 20000,
	TEXT_MAX = 2048,
	IN_BYTES = 4096,
	OUT_BYTES = 65536,
	OPEN_MAX = 1024, /* unacknowledged messages of a connection; a power of two */
	EVENTS = 256,
	BUCKETS = 32 * 26,
	SILENCE_S = 30,
};

struct client {
	int fd;
	bool ready;
	uint16_t next_id;
	int open;
	char topic[TEXT_MAX];
	size_t in_length;
	size_t out_length;
	double due[OPEN_MAX]; /* by packet identifier */
	uint8_t in[IN_BYTES];
	uint8_t out[OUT_BYTES];
};

struct steady {
	struct client *clients;
	int count;
	int ready;
	int epoll;
	int64_t sent;
	int64_t acked;
	double second; /* begin of the present one */
	uint32_t times[BUCKETS];
};

static double wall_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* The text with {} replaced by the word, which has 32 bytes at most. */
static void fill(const char *text, const char *word, char out[TEXT_MAX])
{
	const char *hole = strstr(text, "{}");
	size_t length = 0;

	for (const char *from = text; *from != '\0' && length + 64 < TEXT_MAX; from++) {
		if (from == hole) {
			memcpy(out + length, word, strlen(word));
			length += strlen(word);
			from++;
		} else {
			out[length++] = *from;
		}
	}
	out[length] = '\0';
}

static void flush(struct client *client)
{
	ssize_t n = client->out_length == 0 ? 0 : write(client->fd, client->out, client->out_length);

	if (n < 0 && errno != EAGAIN) {
		fail("the broker closed a connection");
	}
	if (n > 0) {
		memmove(client->out, client->out + n, client->out_length - (size_t)n);
		client->out_length -= (size_t)n;
	}
}

static void publish(struct steady *steady, const char *payload, double due)
{
	struct client *client = &steady->clients[steady->sent % steady->count];
	char number_text[24];
	char text[TEXT_MAX];
	uint8_t body[2 * TEXT_MAX];
	size_t n = put_text(body, client->topic, strlen(client->topic));
	size_t length;

	(void)snprintf(number_text, sizeof(number_text), "%lld", (long long)steady->sent);
	fill(payload, number_text, text);
	length = strlen(text);
	if (client->open >= OPEN_MAX || client->out_length + n + length + 8 > OUT_BYTES) {
		fail("the broker is silent");
	}
	client->next_id = client->next_id == UINT16_MAX ? 1 : (uint16_t)(client->next_id + 1);
	body[n++] = (uint8_t)(client->next_id >> 8);
	body[n++] = (uint8_t)client->next_id;
	memcpy(body + n, text, length);
	client->out_length +=
		put_packet(client->out + client->out_length, PUBLISH | 1 << 1, body, n + length);
	client->due[client->next_id % OPEN_MAX] = due;
	client->open++;
	steady->sent++;
	flush(client);
}

static void acknowledged(struct steady *steady, struct client *client, const uint8_t *body)
{
	double taken_us = (now() - client->due[((size_t)body[0] << 8 | body[1]) % OPEN_MAX]) * 1e6;
	int bucket = taken_us <= 1 ? 0 : (int)(log2(taken_us) * 32) + 1;

	steady->times[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
	steady->acked++;
	client->open--;
}

/* Packets of a broker to a publisher are four bytes long. */
static void receive(struct steady *steady, struct client *client)
{
	ssize_t n = read(client->fd, client->in + client->in_length, IN_BYTES - client->in_length);
	size_t at = 0;

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		fail("the broker closed a connection");
	}
	client->in_length += n > 0 ? (size_t)n : 0;
	for (; client->in_length - at >= 4; at += 4) {
		const uint8_t *packet = client->in + at;

		if (packet[0] == CONNACK && packet[3] == 0) {
			client->ready = true;
			steady->ready++;
		} else if (packet[0] == PUBACK) {
			acknowledged(steady, client, packet + 2);
		} else {
			fail("the broker refuses");
		}
	}
	memmove(client->in, client->in + at, client->in_length - at);
	client->in_length -= at;
}

static void turn(struct steady *steady, double until)
{
	struct epoll_event events[EVENTS];
	double left = until - now();
	struct timespec timeout = { 0 };
	int count;

	if (left > 0) {
		timeout.tv_sec = (time_t)left;
		timeout.tv_nsec = (long)((left - (double)timeout.tv_sec) * 1e9);
	}
	count = epoll_pwait2(steady->epoll, events, EVENTS, &timeout, NULL);
	for (int i = 0; i < count; i++) {
		struct client *client = events[i].data.ptr;

		receive(steady, client);
		flush(client);
	}
}

static void report(struct steady *steady, bool end)
{
	bool first = true;

	printf("{\"at\":%.3f,\"sent\":%lld,\"acknowledged\":%lld,%s\"times\":[",
		wall_now() - (now() - steady->second), (long long)steady->sent, (long long)steady->acked,
		end ? "\"end\":true," : "");
	for (int i = 0; i < BUCKETS; i++) {
		if (steady->times[i] > 0) {
			printf("%s[%d,%u]", first ? "" : ",", i, steady->times[i]);
			first = false;
		}
	}
	puts("]}");
	fflush(stdout);
	memset(steady->times, 0, sizeof(steady->times));
	steady->second = now();
}

static void open_clients(struct steady *steady, int port, const char *topic)
{
	steady->epoll = epoll_create1(EPOLL_CLOEXEC);
	steady->clients = calloc((size_t)steady->count, sizeof(*steady->clients));
	if (steady->epoll < 0 || steady->clients == NULL) {
		fail("out of memory");
	}
	for (int i = 0; i < steady->count; i++) {
		struct client *client = &steady->clients[i];
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
		char name[32];

		(void)snprintf(name, sizeof(name), "steady-%05d", i + 1);
		fill(topic, name, client->topic);
		client->fd = open_socket(port);
		send_connect(client->fd, name);
		(void)fcntl(client->fd, F_SETFL, O_NONBLOCK);
		(void)epoll_ctl(steady->epoll, EPOLL_CTL_ADD, client->fd, &event);
		while (i % 64 == 63 && steady->ready <= i) { /* the broker's backlog is 100 */
			turn(steady, now() + 1);
		}
	}
	while (steady->ready < steady->count) {
		turn(steady, now() + 1);
	}
}

static bool told_to_end(void)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&input, 1, 0) > 0;
}

int main(int argc, char **argv)
{
	struct rlimit files;
	struct steady steady = { .ready = 0 };
	double interval;
	double began;
	double end;

	if (argc != 6) {
		fputs("usage: steady PORT CLIENTS RATE TOPIC PAYLOAD\n", stderr);
		return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	steady.count = (int)number(argv[2], 1, CLIENTS_MAX);
	interval = 1.0 / (double)number(argv[3], 1, 1000000);
	open_clients(&steady, (int)number(argv[1], 1, 65535), argv[4]);
	puts("ready");
	fflush(stdout);
	began = steady.second = now();
	for (;;) {
		double due = began + (double)steady.sent * interval;

		while (due <= now()) {
			publish(&steady, argv[5], due);
			due = began + (double)steady.sent * interval;
		}
		turn(&steady, due);
		if (now() - steady.second >= 1) {
			if (told_to_end()) {
				break;
			}
			report(&steady, false);
		}
	}
	end = now() + SILENCE_S;
	while (steady.acked < steady.sent) {
		if (now() >= end) {
			fail("the broker is silent");
		}
		turn(&steady, now() + 0.1);
	}
	report(&steady, true);
	return 0;
}
