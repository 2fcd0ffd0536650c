/*
 * compat - the one place that includes Mosquitto's headers, and what Mosquitto 2.1 has that the headers of 2.0 lack.
 *
 * One plugin is built against the 2.0 headers and runs on 2.0 and 2.1.  Only the functions that every build of the broker
 * exports may be called (src/linker.syms): no mosquitto_client_port() and the like; how MQTT 5 properties are read see properties.h.
 * Thread: broker.  The strings behind a `struct mosquitto` are the broker's and last for the callback only.
 */
#pragma once

/* 2.0.11's mosquitto_plugin.h needs the two others before it. */
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

/* The numbers are part of the plugin interface, version 5. */
enum {
	COMPAT_EVT_CONNECT = 11,        /* 2.1: a client is connected, its kept session is attached */
	COMPAT_EVT_CLIENT_OFFLINE = 28, /* 2.1: a session that is kept lost its connection */
	COMPAT_ERR_PLUGIN_IGNORE = 32,  /* 2.1: as if this plugin were not there; an error on 2.0 */
	COMPAT_ERR_QUOTA_EXCEEDED = -6, /* 2.1: PUBACK with reason 0x97; 2.0 would disconnect */
	COMPAT_PROTOCOL_MQTT5 = 5,      /* of mosquitto_client_protocol_version() */
};

struct compat_evt_connect {
	void *future;
	struct mosquitto *client;
	void *future2[4];
};

struct compat_evt_client_offline {
	void *future;
	struct mosquitto *client;
	int reason;
	void *future2[4];
};
