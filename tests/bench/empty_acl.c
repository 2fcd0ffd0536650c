/*
 * empty_acl - a plugin for Mosquitto whose access check only returns: what any access check costs, whatever it does.
 *
 * The baseline of the benchmark `instructions`.  One thread, one callback, no options.
 */
#include "ota/gate/compat.h"

#define EXPORT __attribute__((visibility("default")))

static mosquitto_plugin_id_t *plugin_id;

static int allow(int event, void *data, void *userdata)
{
	(void)event;
	(void)data;
	(void)userdata;
	return MOSQ_ERR_SUCCESS;
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
	(void)opts;
	(void)opt_count;
	*user_data = NULL;
	plugin_id = id;
	return mosquitto_callback_register(plugin_id, MOSQ_EVT_ACL_CHECK, allow, NULL, NULL);
}

EXPORT int mosquitto_plugin_cleanup(void *user_data, struct mosquitto_opt *opts, int opt_count)
{
	(void)user_data;
	(void)opts;
	(void)opt_count;
	return mosquitto_callback_unregister(plugin_id, MOSQ_EVT_ACL_CHECK, allow, NULL);
}
