/* The three functions that Mosquitto calls: options, keys, store and gate are put together here, nothing else. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "ota/base/cancel.h"
#include "ota/base/clock.h"
#include "ota/base/logring.h"
#include "ota/base/queue.h"
#include "ota/gate/compat.h"
#include "ota/gate/gate.h"
#include "ota/store/firmware.h"
#include "ota/store/pg.h"
#include "ota/store/store.h"
#include "ota/wire/change.h"
#include "ota/wire/credentials.h"
#include "ota/wire/keyring.h"
#include "ota/wire/options.h"

#define EXPORT __attribute__((visibility("default")))

enum {
	CHANGES_MAX = 8192,
	LOG_LINES = 1024,
	OPTIONS_MAX = 64
};

struct plugin {
	struct options options;
	struct queue *changes;
	struct logring *log;
	struct store *store;
	struct firmware *firmware; /* NULL: no firmware_directory */
	struct gate *gate;
	struct cancel_saved cancel; /* of the broker's thread */
};

/* The broker loads a shared object once, however often it is named; a second init would share everything with the first. */
static struct plugin *loaded;

static void free_change(void *change)
{
	change_free(change);
}

/* What the store said while it stopped: the tick that writes its lines is gone by then. */
static void write_last_lines(struct logring *log)
{
	char line[LOGRING_LINE_MAX];
	enum log_level level;

	while (log && logring_take(log, &level, line)) {
		mosquitto_log_printf(
			level >= LOG_LEVEL_WARNING ? MOSQ_LOG_WARNING : MOSQ_LOG_NOTICE, "ota: %s", line);
	}
}

static void plugin_free(struct plugin *plugin)
{
	firmware_stop(plugin->firmware); /* first: the gate frees the buffers it reads into */
	gate_stop(plugin->gate);
	store_stop(plugin->store);
	write_last_lines(plugin->log);
	cancel_restore(&plugin->cancel);
	queue_free(plugin->changes, free_change);
	logring_free(plugin->log);
	options_free(&plugin->options);
	free(plugin);
}

static enum ota_err read_options(struct plugin *plugin, const struct mosquitto_opt *opts, int count,
	bool modern, struct ota_why *why)
{
	struct option_pair pairs[OPTIONS_MAX];
	struct ota_why inner = { "" };
	enum ota_err err;

	if (count < 0 || count > OPTIONS_MAX) {
		ota_why_set(why, "%d plugin options, at most %d are accepted", count, OPTIONS_MAX);
		return OTA_ERR_INVALID;
	}
	for (int i = 0; i < count; i++) {
		pairs[i].key = opts[i].key;
		pairs[i].value = opts[i].value;
	}
	err = options_parse(pairs, (size_t)count, !modern, &plugin->options, why);
	if (!err && pg_conninfo_check(plugin->options.database, &inner)) {
		ota_why_set(why,
			"plugin_opt_database is not a libpq connection string or URI, such as postgresql:///ota: %s",
			inner.text);
		err = OTA_ERR_INVALID;
	}
	return err;
}

static void note_key(void *context, const char *file, const char *reason)
{
	(void)context;
	mosquitto_log_printf(MOSQ_LOG_WARNING, "ota: key %s is not used: %s", file, reason);
}

static enum ota_err start(
	struct plugin *plugin, mosquitto_plugin_id_t *id, bool modern, struct ota_why *why)
{
	struct ota_why inner = { "" };
	struct keyring *keyring = NULL;
	struct credentials *credentials = NULL;
	struct gate_links links = { .append = store_append,
		.gather = store_gather,
		.flush = store_flush,
		.command = store_command,
		.updating = store_updating,
		.reload = store_reload };
	enum ota_err err = keyring_load(plugin->options.trusted_keys, note_key, NULL, &keyring, &inner);

	if (err) {
		ota_why_set(
			why, "plugin_opt_trusted_keys %s: %s", plugin->options.trusted_keys, inner.text);
		return err;
	}
	if (plugin->options.url_credentials
		&& (err = credentials_read(plugin->options.url_credentials, &credentials, &inner))) {
		keyring_free(keyring);
		ota_why_set(
			why, "plugin_opt_url_credentials %s: %s", plugin->options.url_credentials, inner.text);
		return err;
	}
	plugin->changes = queue_new(CHANGES_MAX);
	plugin->log = logring_new(LOG_LINES);
	if (!plugin->changes || !plugin->log) {
		keyring_free(keyring);
		credentials_free(credentials);
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	mosquitto_log_printf(MOSQ_LOG_INFO, "ota: version %s, broker name %s, trusted keys: %zu",
		OTA_VERSION, plugin->options.broker_name, keyring_count(keyring));
	/* Whether it is so no plugin can see: MQTT lets every client choose its id. */
	if (plugin->options.device_identity == DEVICE_IDENTITY_CLIENTID) {
		mosquitto_log_printf(MOSQ_LOG_WARNING,
			"ota: device ids are client ids, so a client id must be bound to its credentials: use_username_as_clientid "
			"true, or plugin_opt_device_identity username (certificates: with use_identity_as_username true)");
	}
	/* Sessions are numbered from here on, see gate/session.c. */
	err = store_start(&plugin->options, keyring, credentials, clock_wall_ms() << 12,
		plugin->changes, plugin->log, &plugin->store, why);
	if (err) {
		return err;
	}
	if (plugin->options.firmware_directory) {
		err =
			firmware_start(plugin->options.firmware_directory, plugin->log, &plugin->firmware, why);
		if (err) {
			return err;
		}
		links.block_submit = firmware_submit;
		links.block_take = firmware_take;
		links.block_context = plugin->firmware;
	}
	/* From here on the process has a second thread, and nobody ever cancels this one. */
	cancel_never(&plugin->cancel);
	links.context = plugin->store;
	links.changes = plugin->changes;
	links.log = plugin->log;
	return gate_start(id, &plugin->options, &links, modern, &plugin->gate, why);
}

EXPORT int mosquitto_plugin_version(int supported_version_count, const int *supported_versions)
{
	for (int i = 0; i < supported_version_count; i++) {
		if (supported_versions[i] == 5) {
			return 5;
		}
	}
	return -1;
}

EXPORT int mosquitto_plugin_init(
	mosquitto_plugin_id_t *id, void **user_data, struct mosquitto_opt *opts, int opt_count)
{
	struct ota_why why = { "" };
	struct plugin *plugin;
	bool modern;
	enum ota_err err;

	*user_data = NULL;
	if (loaded) {
		mosquitto_log_printf(MOSQ_LOG_ERR,
			"ota: mosquitto_ota.so is on two plugin lines; one is accepted for the whole broker");
		return MOSQ_ERR_INVAL;
	}
	plugin = calloc(1, sizeof(*plugin));
	if (!plugin) {
		return MOSQ_ERR_NOMEM;
	}
	modern = gate_broker_is_modern(id);
	err = read_options(plugin, opts, opt_count, modern, &why);
	if (!err) {
		err = start(plugin, id, modern, &why);
	}
	if (err) {
		mosquitto_log_printf(MOSQ_LOG_ERR, "ota: %s", why.text);
		plugin_free(plugin);
		return MOSQ_ERR_INVAL;
	}
	loaded = plugin;
	*user_data = plugin;
	return MOSQ_ERR_SUCCESS;
}

EXPORT int mosquitto_plugin_cleanup(void *user_data, struct mosquitto_opt *opts, int opt_count)
{
	(void)opts;
	(void)opt_count;
	/* 2.1 calls this after a failed init, too. */
	if (user_data && user_data == loaded) {
		plugin_free(loaded);
		loaded = NULL;
	}
	return MOSQ_ERR_SUCCESS;
}
