/*
 * packet - what the load generators share: MQTT 3.1.1 packets, blocking sockets, time, and giving up.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum packet {
	CONNECT = 0x10,
	CONNACK = 0x20,
	PUBLISH = 0x30,
	PUBACK = 0x40,
	SUBSCRIBE = 0x82,
	SUBACK = 0x90,
	PINGREQ = 0xc0,
	PINGRESP = 0xd0,
	DISCONNECT = 0xe0,
};

/* Prints what went wrong and ends the program with status 1. */
_Noreturn void fail(const char *what);

/* Monotonic time in seconds. */
double now(void);

/* A decimal number in low..high; ends the program with status 2 otherwise. */
int64_t number(const char *text, int64_t low, int64_t high);

/* A length and the text, as MQTT writes strings; returns the bytes written. */
size_t put_text(uint8_t *out, const char *text, size_t length);

/* Header, remaining length and body; returns the whole length. */
size_t put_packet(uint8_t *out, int type, const uint8_t *body, size_t length);

/* A blocking connection to a port of this machine. */
int open_socket(int port);

void write_all(int fd, const uint8_t *data, size_t length);

/* A clean session without keep-alive; the name has 100 bytes at most. */
void send_connect(int fd, const char *name);
