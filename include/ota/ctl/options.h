/*
 * options - how to reach the broker, in the words of mosquitto_pub.
 *
 * Thread: main.  The strings belong to the program's arguments or to the options; free with connection_free().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ota/base/error.h"

enum {
	CONNECTION_TEXTS_MAX = 64
};

struct connection {
	const char *host;
	int port; /* 0: 1883, with TLS 8883 */
	const char *username;
	const char *password;
	const char *id;
	const char *bind;
	const char *cafile;
	const char *capath;
	const char *cert;
	const char *key;
	const char *tls_version;
	const char *ciphers;
	int protocol; /* 4: MQTT 3.1.1, 5 */
	bool insecure;
	bool json;
	int timeout_s;
	char *texts[CONNECTION_TEXTS_MAX]; /* what files of options brought */
	size_t text_count;
};

/* The defaults alone. */
void connection_defaults(struct connection *connection);

/* The defaults, and the options of $XDG_CONFIG_HOME/mosquitto_ota or ~/.config/mosquitto_ota when there is one. */
OTA_MUST_USE enum ota_err connection_init(struct connection *connection, struct ota_why *why);
void connection_free(struct connection *connection);

/*
 * Take the option at argv[0], with its value at argv[1]; *used: how many of them were taken.  OTA_ERR_NOT_FOUND: no option of ours;
 * OTA_ERR_INVALID: with the reason.
 */
OTA_MUST_USE enum ota_err connection_option(
	struct connection *connection, int argc, char *const *argv, int *used, struct ota_why *why);

/* The options as a help text. */
extern const char connection_help[];
