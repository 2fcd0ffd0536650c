/*
 * mosquitto_ctrl ota ...: the same program as a module of mosquitto_ctrl.
 *
 * mosquitto_ctrl hands over a structure that differs between its versions; only the members up to the TLS engine's have stood in the
 * same places since 2.0.0.  So nothing behind them is touched, neither read nor written: no topic, no payload, no callback.  The
 * module speaks with the broker itself, and its return value tells mosquitto_ctrl that nothing is left to send: below 0 ends it with
 * status 0, MOSQ_ERR_UNKNOWN with that number and without a further word.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <mosquitto.h>

#include "ota/ctl/options.h"
#include "ota/ctl/program.h"
#include "ota/ctl/verb.h"

enum {
	NOTHING_TO_SEND = -1
};

/* What apps/mosquitto_ctrl/mosquitto_ctrl.h of Mosquitto 2.0.0 to 2.1.2 begins with, built with TLS as every distribution does. */
struct mosq_ctrl {
	char *id;
	int protocol_version;
	int keepalive;
	char *host;
	int port; /* not above 0: none was given, or a socket in the file system */
	int qos;
	char *bind_address;
	bool debug;
	bool quiet;
	char *username;
	char *password;
	char *options_file;
	char *cafile;
	char *capath;
	char *certfile;
	char *keyfile;
	char *ciphers;
	bool insecure;
	char *tls_alpn;
	char *tls_version;
	char *tls_engine;
	char *tls_engine_kpass_sha1;
};

_Static_assert(sizeof(void *) != 8
		|| (offsetof(struct mosq_ctrl, host) == 16 && offsetof(struct mosq_ctrl, username) == 48
			&& offsetof(struct mosq_ctrl, tls_engine_kpass_sha1) == 144),
	"the layout that all versions share, checked on machines with 64 bits");

__attribute__((visibility("default"))) int ctrl_main(
	int argc, char *argv[], struct mosq_ctrl *ctrl);

/* What was given to mosquitto_ctrl, as far as this module can do the same. */
static bool take_connection(const struct mosq_ctrl *ctrl, struct connection *connection)
{
	if (ctrl->tls_alpn || ctrl->tls_engine) {
		(void)task_fail("%s is not supported by this module; mosquitto_ota --help lists what is",
			ctrl->tls_alpn ? "--tls-alpn" : "--tls-engine");
		return false;
	}
	if (ctrl->host && ctrl->host[0] == '/') {
		(void)task_fail(
			"sockets in the file system are not supported by this module; accepted are -h and -p");
		return false;
	}
	connection->host = ctrl->host ? ctrl->host : connection->host;
	connection->port = ctrl->port > 0 ? ctrl->port : connection->port;
	connection->protocol = ctrl->protocol_version == 5 ? 5 : 4;
	connection->id = ctrl->id;
	connection->bind = ctrl->bind_address;
	connection->username = ctrl->username;
	connection->password = ctrl->password;
	connection->cafile = ctrl->cafile;
	connection->capath = ctrl->capath;
	connection->cert = ctrl->certfile;
	connection->key = ctrl->keyfile;
	connection->ciphers = ctrl->ciphers;
	connection->insecure = ctrl->insecure;
	connection->tls_version = ctrl->tls_version;
	return true;
}

int ctrl_main(int argc, char *argv[], struct mosq_ctrl *ctrl)
{
	struct connection connection;
	int status = EXIT_USAGE;

	connection_defaults(&connection);
	program_usage = "mosquitto_ctrl [connection options] ota";
	(void)mosquitto_lib_init();
	if (take_connection(ctrl, &connection)) {
		status = program_run(&connection, argc, argv);
	}
	connection_free(&connection);
	(void)mosquitto_lib_cleanup();
	(void)fflush(stdout);
	return status == EXIT_DONE ? NOTHING_TO_SEND : MOSQ_ERR_UNKNOWN;
}
