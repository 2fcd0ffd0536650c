/*
 * load - an MQTT 3.1.1 load generator for the benchmarks: raw sockets, one thread, epoll.
 *
 * load publish PORT CLIENTS MESSAGES QOS WINDOW TOPIC PAYLOAD
 *     CLIENTS connections, named PREFIX-00001 ..., together publish MESSAGES messages.  In TOPIC and PAYLOAD {} stands for
 *     the client's name.  QoS 1: at most WINDOW unacknowledged messages a connection.  Ends when all are acknowledged.
 * load relay PORT SUBSCRIBERS MESSAGES QOS WINDOW TOPIC PAYLOAD
 *     one publisher, SUBSCRIBERS subscribers of TOPIC; the publisher is never more than WINDOW messages ahead of the slowest.
 *     Ends when each subscriber has every message.
 * load turns PORT SUBSCRIBERS MESSAGES QOS WINDOW TOPIC PAYLOAD
 *     like relay, MESSAGES for each line on standard input, which is answered by a line; ends with its input.  The sessions stay.
 * load listen PORT CLIENTS 1 QOS 1 TOPIC -
 *     CLIENTS connections, each subscribed to TOPIC of its own; prints {"ready": seconds that took}, then waits until each has a message
 *     ("bins": how many in each 10 ms) or it is told on standard input.
 *
 * With LOAD_STAY in the environment all stay connected after the result was printed, until standard input ends.
 *
 * Prints one JSON object; times in seconds.  Exit status 1 when the broker refuses, closes or falls silent for 30 s.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "arrivals.h"
#include "packet.h"

enum {
	CLIENTS_MAX = 50000,
	TEXT_MAX = 4096,
	IN_BYTES = 8192,
	OUT_BYTES = 16384,
	EVENTS = 256,
	NAME_BYTES = 64,
	SILENCE_MS = 30000,
	LISTEN_MS = 300000,
};

struct client {
	int fd;
	bool publishes;
	bool ready;     /* CONNACK, and SUBACK where it subscribes */
	bool wants_out; /* registered for EPOLLOUT */
	uint16_t next_id;
	int64_t sent;
	int64_t acked;
	int64_t received;
	size_t in_length;
	size_t out_length;
	size_t packet_length; /* the publisher's packet, encoded once */
	size_t id_offset;     /* where its packet identifier stands */
	uint8_t *packet;
	uint8_t *out;
	uint8_t in[IN_BYTES];
};

struct load {
	struct client *clients;
	int count;
	int epoll;
	int ready;
	int qos;
	int64_t messages; /* all */
	int64_t window;
	int64_t begun; /* publishes handed out so far */
	int64_t acked;
	int64_t received;
	int64_t slowest;
	int64_t hearing; /* subscribers that have had a message */
	bool relay;
	bool turns; /* relays at each line on standard input */
	bool listen;
	bool told; /* to end, on standard input */
};

/* The text with {} replaced by the name. */
static size_t fill(const char *text, const char *name, char out[TEXT_MAX])
{
	const char *hole = strstr(text, "{}");
	size_t length = 0;

	for (const char *from = text; *from != '\0' && length + 64 < TEXT_MAX; from++) {
		if (from == hole) {
			memcpy(out + length, name, strlen(name));
			length += strlen(name);
			from++;
		} else {
			out[length++] = *from;
		}
	}
	out[length] = '\0';
	return length;
}

static void encode_publish(
	struct client *client, const char *name, int qos, const char *topic, const char *payload)
{
	char text[TEXT_MAX];
	uint8_t body[2 * TEXT_MAX];
	size_t n = put_text(body, text, fill(topic, name, text));

	client->id_offset = n;
	n += qos > 0 ? 2 : 0;
	size_t length = fill(payload, name, text);

	memcpy(body + n, text, length);
	n += length;
	client->packet = malloc(n + 8);
	if (client->packet == NULL) {
		fail("out of memory");
	}
	client->packet_length = put_packet(client->packet, PUBLISH | qos << 1, body, n);
	client->id_offset += client->packet_length - n;
}

static void send_subscribe(int fd, const char *topic, int qos)
{
	uint8_t body[TEXT_MAX + 8] = { 0, 1 };
	uint8_t packet[TEXT_MAX + 16];
	size_t n = 2 + put_text(body + 2, topic, strlen(topic));

	body[n++] = (uint8_t)qos;
	write_all(fd, packet, put_packet(packet, SUBSCRIBE, body, n));
}

static void flush(struct load *load, struct client *client)
{
	size_t done = 0;
	bool blocked = false;

	while (done < client->out_length && !blocked) {
		ssize_t n = write(client->fd, client->out + done, client->out_length - done);

		if (n < 0 && errno != EAGAIN) {
			fail("the broker closed a connection");
		}
		blocked = n < 0;
		done += n > 0 ? (size_t)n : 0;
	}
	memmove(client->out, client->out + done, client->out_length - done);
	client->out_length -= done;
	if (blocked != client->wants_out) {
		struct epoll_event event = { .events = EPOLLIN | (blocked ? EPOLLOUT : 0),
			.data.ptr = client };

		client->wants_out = blocked;
		epoll_ctl(load->epoll, EPOLL_CTL_MOD, client->fd, &event);
	}
}

/* Encode as many publishes as the window and the buffer take. */
static void publish(struct load *load, struct client *client)
{
	while (
		load->begun < load->messages && client->out_length + client->packet_length <= OUT_BYTES) {
		int64_t open = client->sent - (load->relay ? load->slowest : client->acked);

		if ((load->relay || load->qos > 0) && open >= load->window) {
			break;
		}
		memcpy(client->out + client->out_length, client->packet, client->packet_length);
		if (load->qos > 0) {
			client->next_id = client->next_id == UINT16_MAX ? 1 : (uint16_t)(client->next_id + 1);
			client->out[client->out_length + client->id_offset] = (uint8_t)(client->next_id >> 8);
			client->out[client->out_length + client->id_offset + 1] = (uint8_t)client->next_id;
		}
		client->out_length += client->packet_length;
		client->sent++;
		load->begun++;
	}
	flush(load, client);
}

static void acknowledge(struct client *client, const uint8_t *body)
{
	size_t topic = (size_t)body[0] << 8 | body[1];
	uint8_t packet[4] = { PUBACK, 2, body[2 + topic], body[3 + topic] };

	if (client->out_length + sizeof(packet) > OUT_BYTES) {
		fail("the broker does not read");
	}
	memcpy(client->out + client->out_length, packet, sizeof(packet));
	client->out_length += sizeof(packet);
}

static void take(struct load *load, struct client *client, uint8_t type, const uint8_t *body)
{
	switch (type & 0xf0) {
	case CONNACK:
	case SUBACK:
		if (body[1] != 0 && (type & 0xf0) == CONNACK) {
			fail("the broker refuses a connection");
		}
		client->ready = true;
		load->ready++;
		break;
	case PUBACK:
		client->acked++;
		load->acked++;
		break;
	case PUBLISH:
		load->hearing += client->received == 0;
		client->received++;
		load->received++;
		if ((type & 6) != 0) {
			acknowledge(client, body);
		}
		break;
	default:
		break;
	}
}

/* Read what is there and take every whole packet. */
static void receive(struct load *load, struct client *client)
{
	ssize_t n = read(client->fd, client->in + client->in_length, IN_BYTES - client->in_length);
	size_t at = 0;

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		fail("the broker closed a connection");
	}
	client->in_length += n > 0 ? (size_t)n : 0;
	while (client->in_length - at >= 2) {
		size_t length = 0;
		size_t header = 1;
		unsigned shift = 0;

		while (at + header < client->in_length && shift < 28) {
			uint8_t byte = client->in[at + header++];

			length |= (size_t)(byte & 127) << shift;
			shift += 7;
			if (byte < 128) {
				shift = 28;
			}
		}
		if (shift < 28 || client->in_length - at < header + length) {
			break;
		}
		take(load, client, client->in[at], client->in + at + header);
		at += header + length;
	}
	memmove(client->in, client->in + at, client->in_length - at);
	client->in_length -= at;
}

static void turn(struct load *load)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(load->epoll, events, EVENTS, load->listen ? LISTEN_MS : SILENCE_MS);

	if (count <= 0) {
		fail("the broker is silent");
	}
	for (int i = 0; i < count; i++) {
		struct client *client = events[i].data.ptr;

		if (client == NULL) {
			load->told = true;
			continue;
		}
		if (events[i].events & ~(unsigned)EPOLLOUT) {
			receive(load, client);
		}
		if (client->publishes && load->ready == load->count) {
			publish(load, client);
		} else {
			flush(load, client);
		}
	}
}

static int64_t slowest(const struct load *load)
{
	int64_t least = INT64_MAX;

	for (int i = 1; i < load->count; i++) {
		least = load->clients[i].received < least ? load->clients[i].received : least;
	}
	return least;
}

static const char *name_of(int i, char name[NAME_BYTES])
{
	const char *prefix = getenv("LOAD_PREFIX");

	snprintf(name, NAME_BYTES, "%.40s-%05d", prefix == NULL ? "load" : prefix, i + 1);
	return name;
}

static void open_clients(struct load *load, int port, const char *topic, const char *payload)
{
	load->epoll = epoll_create1(EPOLL_CLOEXEC);
	load->clients = calloc((size_t)load->count, sizeof(*load->clients));
	if (load->epoll < 0 || load->clients == NULL) {
		fail("out of memory");
	}
	for (int i = 0; i < load->count; i++) {
		struct client *client = &load->clients[i];
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
		char name[NAME_BYTES];

		name_of(i, name);
		client->publishes = !load->listen && (!load->relay || i == 0);
		client->fd = open_socket(port);
		client->out = malloc(OUT_BYTES);
		if (client->out == NULL) {
			fail("out of memory");
		}
		send_connect(client->fd, name);
		if (client->publishes) {
			encode_publish(client, name, load->qos, topic, payload);
		}
		fcntl(client->fd, F_SETFL, O_NONBLOCK);
		epoll_ctl(load->epoll, EPOLL_CTL_ADD, client->fd, &event);
		if (i % 64 == 63) { /* the broker's backlog is 100 */
			while (load->ready <= i) {
				turn(load);
			}
		}
	}
}

/* All sessions stand; they subscribe now, so that CONNACK and SUBACK are told apart by their order. */
static void subscribe_all(struct load *load, const char *topic)
{
	int first = load->relay ? 1 : 0;

	load->ready = first;
	for (int i = first; i < load->count; i++) {
		char name[NAME_BYTES];
		char text[TEXT_MAX];

		fill(topic, name_of(i, name), text);
		send_subscribe(load->clients[i].fd, text, load->qos);
	}
	while (load->ready < load->count) {
		turn(load);
	}
}

/* False at the end of standard input. */
static bool next_line(void)
{
	int c = getchar();

	while (c != EOF && c != '\n') {
		c = getchar();
	}
	return c == '\n';
}

/* Until each has been told; the processor time of this program must not count, so it looks at nothing else. */
static int listen_all(struct load *load, double began)
{
	static struct arrivals arrivals;
	struct epoll_event told = { .events = EPOLLIN, .data.ptr = NULL };

	printf("{\"ready\":%.6f}\n", now() - began);
	fflush(stdout);
	(void)epoll_ctl(load->epoll, EPOLL_CTL_ADD, STDIN_FILENO,
		&told); /* a file cannot be waited for, and says nothing */
	while (load->hearing < load->count && !load->told) {
		turn(load);
		arrivals_note(&arrivals, load->hearing);
	}
	printf(
		"{\"heard\":%lld,\"received\":%lld,", (long long)load->hearing, (long long)load->received);
	arrivals_print(&arrivals);
	fflush(stdout);
	if (getenv("LOAD_STAY") != NULL && !load->told) {
		(void)epoll_ctl(load->epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
		for (int i = 0; i < load->count; i++) { /* the acknowledgements that are still here */
			flush(load, &load->clients[i]);
		}
		while (next_line()) { /* until told to go */
		}
	}
	return 0;
}

static bool done(const struct load *load)
{
	if (load->relay) {
		return load->slowest >= load->messages && (load->qos == 0 || load->acked >= load->messages);
	}
	if (load->qos > 0) {
		return load->acked >= load->messages;
	}
	for (int i = 0; i < load->count; i++) {
		if (load->clients[i].out_length > 0) {
			return false;
		}
	}
	return load->begun >= load->messages;
}

/* What stands open of the messages, to its end; prints what that took. */
static void transfer(struct load *load)
{
	struct timespec wall;
	double began = now();

	clock_gettime(CLOCK_REALTIME, &wall);
	for (int i = 0; i < load->count; i++) {
		if (load->clients[i].publishes) {
			publish(load, &load->clients[i]);
		}
	}
	while (!done(load)) {
		turn(load);
		if (load->relay) {
			int64_t before = load->slowest;

			load->slowest = slowest(load);
			if (load->slowest > before) {
				publish(load, &load->clients[0]);
			}
		}
	}
	printf(
		"{\"began\":%.6f,\"seconds\":%.6f,\"published\":%lld,\"acknowledged\":%lld,\"received\":%lld}\n",
		(double)wall.tv_sec + (double)wall.tv_nsec / 1e9, now() - began, (long long)load->begun,
		(long long)load->acked, (long long)load->received);
	fflush(stdout);
}

static int run(struct load *load, int port, const char *topic, const char *payload)
{
	double began;
	uint8_t bye[2] = { DISCONNECT, 0 };

	began = now();
	open_clients(load, port, topic, payload);
	while (load->ready < load->count) {
		turn(load);
	}
	if (load->relay || load->listen) {
		subscribe_all(load, topic);
	}
	if (load->listen) {
		return listen_all(load, began);
	}
	if (load->turns) {
		int64_t each = load->messages;

		puts("{}"); /* ready for the first turn */
		fflush(stdout);
		for (load->messages = 0; next_line();) {
			load->messages += each;
			transfer(load);
		}
	} else {
		transfer(load);
	}
	if (getenv("LOAD_STAY") != NULL) {
		while (next_line()) { /* until told to go */
		}
	}
	for (int i = 0; i < load->count; i++) {
		(void)!write(load->clients[i].fd, bye, sizeof(bye));
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit files;
	struct load load = { .ready = 0 };
	int port = argc > 2 ? (int)number(argv[2], 1, 65535) : 0;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (argc != 9
		|| (strcmp(argv[1], "publish") != 0 && strcmp(argv[1], "relay") != 0
			&& strcmp(argv[1], "turns") != 0 && strcmp(argv[1], "listen") != 0)) {
		fputs(
			"usage: load publish|relay|turns|listen PORT CLIENTS MESSAGES QOS WINDOW TOPIC PAYLOAD\n",
			stderr);
		return 2;
	}
	load.turns = argv[1][0] == 't';
	load.relay = argv[1][0] == 'r' || load.turns;
	load.listen = argv[1][0] == 'l';
	load.count = (int)number(argv[3], 1, CLIENTS_MAX) + (load.relay ? 1 : 0);
	load.messages = number(argv[4], 1, 100000000);
	load.qos = (int)number(argv[5], 0, 1);
	load.window = number(argv[6], 1, 60000);
	return run(&load, port, argv[7], argv[8]);
}
