/*
 * broker - the functions of Mosquitto that the gate uses, faked: callbacks, publishes and log lines are recorded.
 *
 * Thread: the test's.  Recorded things are the fake's, until fake_reset().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ota/gate/compat.h"

/* A client as the broker knows it; tests make and change them freely. */
struct mosquitto {
	const char *id;
	const char *username;
	int protocol_version; /* 4: 3.1.1, 5: 5.0 */
	bool clean_session;
	int sub_count;
};

struct fake_publish {
	char *client_id; /* NULL: everybody */
	char *topic;
	char *payload; /* terminated */
	int length;
	int qos;
	bool retain;
	char *correlation; /* terminated; NULL: none */
};

enum {
	FAKE_NOT_REGISTERED = -1000
};

/* A fresh broker of 2.0 or 2.1; frees what was recorded. */
void fake_reset(bool modern);
/* Let the registration of this event fail with `code`. */
void fake_refuse_event(int event, int code);
/* Let broker_publish return this. */
void fake_refuse_publish(int code);

/* Call the callback of an event; FAKE_NOT_REGISTERED: there is none. */
int fake_call(int event, void *data);
size_t fake_callbacks(void);

size_t fake_publishes(void);
const struct fake_publish *fake_publish_at(size_t index);
/* The last one on this topic; NULL: none. */
const struct fake_publish *fake_publish_on(const char *topic);
void fake_forget_publishes(void);

/* How many log lines contain this text. */
size_t fake_log_count(const char *text);
