/*
 * ping - how long the broker takes to answer a client that does nothing else.
 *
 * ping PORT MILLISECONDS
 *     a PINGREQ every 5 ms, for that long or until something comes on the standard input.
 * Prints "ready" when connected, at the end one JSON object with times in seconds.
 */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "packet.h"

enum {
	PING_EVERY_MS = 5,
	PINGS_MAX = 200000,
};

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
	static double taken[PINGS_MAX];
	const uint8_t request[2] = { PINGREQ, 0 };
	uint8_t answer[4];
	int count = 0;
	double end;
	int fd;

	if (argc != 3) {
		fputs("usage: ping PORT MILLISECONDS\n", stderr);
		return 2;
	}
	fd = open_socket((int)number(argv[1], 1, 65535));
	end = now() + (double)number(argv[2], 1, 3600000) / 1e3;

	send_connect(fd, "load-ping");
	if (read(fd, answer, 4) != 4 || answer[3] != 0) {
		fail("the broker refuses the connection");
	}
	puts("ready"); /* whoever measures something waits for this */
	fflush(stdout);
	while (now() < end && count < PINGS_MAX) {
		struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
		double began = now();

		write_all(fd, request, sizeof(request));
		if (read(fd, answer, 2) != 2 || answer[0] != PINGRESP) {
			fail("no PINGRESP");
		}
		taken[count++] = now() - began;
		if (poll(&input, 1, PING_EVERY_MS) > 0) {
			break;
		}
	}
	qsort(taken, (size_t)count, sizeof(taken[0]), compare);
	printf("{\"pings\":%d,\"median\":%.6f,\"p99\":%.6f,\"max\":%.6f}\n", count, taken[count / 2],
		taken[count * 99 / 100], taken[count - 1]);
	return 0;
}
