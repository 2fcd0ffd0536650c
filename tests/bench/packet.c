#include "packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

_Noreturn void fail(const char *what)
{
	fprintf(stderr, "load: %s (%d)\n", what, errno);
	exit(1);
}

double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int64_t number(const char *text, int64_t low, int64_t high)
{
	char *end = NULL;
	long long value = strtoll(text, &end, 10);

	if (end == text || *end != '\0' || value < low || value > high) {
		fprintf(stderr, "load: \"%s\" is not a number from %lld to %lld\n", text, (long long)low,
			(long long)high);
		exit(2);
	}
	return value;
}

size_t put_text(uint8_t *out, const char *text, size_t length)
{
	out[0] = (uint8_t)(length >> 8);
	out[1] = (uint8_t)length;
	memcpy(out + 2, text, length);
	return length + 2;
}

/* Header, remaining length and body; returns the whole length. */
size_t put_packet(uint8_t *out, int type, const uint8_t *body, size_t length)
{
	size_t n = 0;
	size_t left = length;

	out[n++] = (uint8_t)type;
	do {
		out[n++] = (uint8_t)(left % 128 | (left >= 128 ? 0x80 : 0));
		left /= 128;
	} while (left > 0);
	memcpy(out + n, body, length);
	return n + length;
}

int open_socket(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		fail("cannot connect");
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

void write_all(int fd, const uint8_t *data, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, data, length);

		if (n <= 0) {
			fail("the broker closed the connection");
		}
		data += n;
		length -= (size_t)n;
	}
}

void send_connect(int fd, const char *name)
{
	uint8_t body[128] = { 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0 };
	uint8_t packet[160];
	size_t n = 10 + put_text(body + 10, name, strlen(name));

	write_all(fd, packet, put_packet(packet, CONNECT, body, n));
}
