/*
 * store - the one thread that talks to PostgreSQL, and the outbox in front of it.
 *
 * Broker's thread: store_start, store_append, store_gather, store_flush, store_command, store_updating, store_reload, store_stop.  Everything else happens on the store's own thread,
 * which never calls a mosquitto_* function: what it has to say goes through the change queue and the log ring.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/base/logring.h"
#include "ota/base/queue.h"
#include "ota/wire/control.h"
#include "ota/wire/credentials.h"
#include "ota/wire/keyring.h"
#include "ota/wire/options.h"

struct store;

/*
 * Open the outbox and start the thread.  PostgreSQL being away is no error.  `options`, `changes` and `log` outlive the store;
 * `keyring` and `credentials`
 * (NULL: none) become the store's in any case.  `session_floor`: see fold_new().
 */
OTA_MUST_USE enum ota_err store_start(const struct options *options, struct keyring *keyring,
	struct credentials *credentials, int64_t session_floor, struct queue *changes,
	struct logring *log, struct store **store, struct ota_why *why);

/* Keep one event record; the signature of gate_links.append, `store` being the context. */
OTA_MUST_USE enum ota_err store_append(void *store, const uint8_t *record, size_t length);

/* The same for a record that nobody waits for, see outbox_gather(), and the end of its waiting: gate_links.gather and .flush. */
OTA_MUST_USE enum ota_err store_gather(void *store, const uint8_t *record, size_t length);
OTA_MUST_USE enum ota_err store_flush(void *store);

/*
 * Carry out an operator's commands, soon; the signature of gate_links.command.  The request becomes the store's on OTA_OK only.
 * OTA_ERR_UNAVAILABLE: the database is away; OTA_ERR_FULL: too many wait.
 */
OTA_MUST_USE enum ota_err store_command(void *store, struct control_request *request);

/*
 * Find out, soon, whether an update of this device is going on; the signature of gate_links.updating.  The answer is a
 * CHANGE_UPDATING.  Errors as for store_command(), and OTA_ERR_NOMEM.
 */
OTA_MUST_USE enum ota_err store_updating(void *store, const char *device, int64_t session);

/* Read the key directory and the credentials again, soon; `store` is a struct store. */
void store_reload(void *store);

/* Write what is left if PostgreSQL takes it within two seconds, end the thread, free.  NULL does nothing. */
void store_stop(struct store *store);
