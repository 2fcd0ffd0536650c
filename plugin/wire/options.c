#include "ota/wire/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options_value.h"

/*
 * One row an option; parsing, defaults, error messages and the reference page all come from here.  `parse` reads a value
 * into the field at `offset` and leaves it to the caller to name the option and what is accepted.
 */
struct option_row {
	struct option_doc doc;
	enum ota_err (*parse)(
		struct options *options, void *field, const char *value, struct ota_why *detail);
	size_t offset;
	bool secret; /* the value may hold a password: never shown */
};

/* Shown as the default of broker_name. */
static const char host_name_fallback[] = "(host name)";

static const struct option_row rows[] = {
	{ { "database", "", "a libpq connection string or URI, such as postgresql:///ota", true },
		option_text, offsetof(struct options, database), true },
	{ { "trusted_keys", "",
		  "a directory of PEM public keys (*.pem, *.pub), such as"
		  " /etc/mosquitto/ota/keys.d",
		  true },
		option_text, offsetof(struct options, trusted_keys), false },
	{ { "signature_policy", "manifest", "manifest, artifact or both", false },
		option_signature_policy, offsetof(struct options, signature_policy), false },
	{ { "signature_threshold", "1", "an integer from 1 to 16", false }, option_threshold,
		offsetof(struct options, signature_threshold), false },
	{ { "url_credentials", "", "an absolute path", false }, option_absolute_path,
		offsetof(struct options, url_credentials), false },
	{ { "device_identity", "clientid", "clientid or username", false }, option_device_identity,
		offsetof(struct options, device_identity), false },
	{ { "enroll", "auto", "auto or known", false }, option_enroll, offsetof(struct options, enroll),
		false },
	{ { "state_directory", "/var/lib/mosquitto/ota", "an absolute path", false },
		option_absolute_path, offsetof(struct options, state_directory), false },
	{ { "status_topic", "devices/{device}/ota/status", "one topic with a level {device}", false },
		option_status_topic, offsetof(struct options, status_topic), false },
	{ { "notify_topics", "fleet/{fleet}/ota/available devices/{device}/ota/available",
		  "1 to 8 topics, separated by spaces, each with a level {device} or {fleet}", false },
		option_notify_topics, offsetof(struct options, notify_topics), false },
	{ { "control_users", "",
		  "at most 1024 user names, separated by spaces or commas; empty: nobody", false },
		option_control_users, offsetof(struct options, control_users), false },
	{ { "intercept_push", "deny", "deny or stage", false }, option_intercept_push,
		offsetof(struct options, intercept_push), false },
	{ { "reports_per_minute", "6000", "an integer from 0 to 1000000; 0: no limit", false },
		option_reports_per_minute, offsetof(struct options, reports_per_minute), false },
	{ { "broker_name", host_name_fallback,
		  "a name of 1 to 128 bytes without '/', '+', '#' and control characters, not beginning with '$'",
		  false },
		option_name, offsetof(struct options, broker_name), false },
	{ { "acl_other_topics", "", "defer or allow", false }, option_acl_other_topics,
		offsetof(struct options, acl_other_topics), false },
	{ { "outbox_max_bytes", "1073741824",
		  "a number of bytes from 1048576 on, also with k, M or G for powers of 1024", false },
		option_outbox_max_bytes, offsetof(struct options, outbox_max_bytes), false },
	{ { "outbox_sync_ms", "1000", "an integer from 0 to 60000", false }, option_outbox_sync_ms,
		offsetof(struct options, outbox_sync_ms), false },
	{ { "offline_serve_seconds", "600", "an integer from 0 to 86400", false },
		option_offline_serve_seconds, offsetof(struct options, offline_serve_seconds), false },
	{ { "firmware_directory", "", "an absolute path", false }, option_absolute_path,
		offsetof(struct options, firmware_directory), false },
	{ { "block_topic", "devices/{device}/ota/block", "one topic with a level {device}", false },
		option_block_topic, offsetof(struct options, block_topic), false },
	{ { "block_bytes_per_second", "4194304",
		  "0 (no limit) or a number of bytes from 16384 on, also with k, M or G for powers of 1024",
		  false },
		option_block_rate, offsetof(struct options, block_bytes_per_second), false },
	{ { "block_max_bytes", "16384", "an integer from 256 to 262144", false },
		option_block_max_bytes, offsetof(struct options, block_max_bytes), false },
};
enum {
	ROWS = sizeof(rows) / sizeof(rows[0])
};

static enum ota_err option_unknown(const char *key, struct ota_why *why)
{
	char known[480] = ""; /* a test asks for the last name */
	size_t used = 0;
	const char *nearest = NULL;
	size_t nearest_distance = 4; /* more letters than that are no slip of the finger */

	for (size_t i = 0; i < ROWS; i++) {
		const char *name = rows[i].doc.name;
		size_t distance = option_name_distance(key, name);
		size_t length = strlen(name);

		if (distance < nearest_distance) {
			nearest_distance = distance;
			nearest = name;
		}
		if (used + length + 2 < sizeof(known)) {
			known[used] = ' ';
			memcpy(known + used + 1, name, length + 1);
			used += length + 1;
		}
	}
	ota_why_set(why, "plugin_opt_%.40s is not an option%s%s; accepted are%s", key,
		nearest ? ", did you mean " : "", nearest ? nearest : "", known);
	return OTA_ERR_INVALID;
}

static enum ota_err option_set(
	const struct option_row *row, const char *value, struct options *options, struct ota_why *why)
{
	char *text = option_value_trim(value);
	struct ota_why detail = { { 0 } };
	enum ota_err err = OTA_ERR_NOMEM;

	if (text) {
		err = row->parse(options, (char *)options + row->offset, text, &detail);
	}
	if (err == OTA_ERR_NOMEM) {
		ota_why_set(why, "plugin_opt_%s: out of memory", row->doc.name);
	} else if (err != OTA_OK && detail.text[0]) {
		ota_why_set(why, "plugin_opt_%s: %.290s", row->doc.name, detail.text);
	} else if (err != OTA_OK) {
		ota_why_set(why, "plugin_opt_%s is '%.80s', accepted is %s", row->doc.name,
			row->secret && text[0] ? "..." : text, row->doc.accepted);
	}
	free(text);
	return err;
}

/* The row with this name; NULL: there is none. */
static const struct option_row *option_find(const char *key)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (strcmp(rows[i].doc.name, key) == 0) {
			return &rows[i];
		}
	}
	return NULL;
}

/* The value of an option that was not given. */
static enum ota_err option_default(
	const struct option_row *row, struct options *options, struct ota_why *why)
{
	char host[TOPIC_ID_MAX + 1];

	if (row->doc.required) {
		ota_why_set(why, "plugin_opt_%s is missing: give %s", row->doc.name, row->doc.accepted);
		return OTA_ERR_INVALID;
	}
	if (row->doc.fallback == host_name_fallback) {
		if (gethostname(host, sizeof(host)) != 0) {
			host[0] = '\0';
		}
		host[sizeof(host) - 1] = '\0';
		return option_set(row, host, options, why);
	}
	return row->doc.fallback[0] ? option_set(row, row->doc.fallback, options, why) : OTA_OK;
}

/* Topics of blocks are topics only while blocks are served. */
static enum ota_err check_block_topic(const struct options *options, struct ota_why *why)
{
	if (!options->firmware_directory) {
		return OTA_OK;
	}
	if (option_topics_overlap(&options->block_topic, &options->status_topic)
		|| option_topics_overlap(&options->block_get_topic, &options->status_topic)) {
		ota_why_set(why,
			"plugin_opt_block_topic, or the same with /get behind it, could be a status topic"
			" (plugin_opt_status_topic), accepted is a topic that no other option's cover");
		return OTA_ERR_INVALID;
	}
	for (size_t i = 0; i < options->notify_topics_count; i++) {
		if (option_topics_overlap(&options->notify_topics[i], &options->block_topic)
			|| option_topics_overlap(&options->notify_topics[i], &options->block_get_topic)) {
			ota_why_set(why,
				"plugin_opt_notify_topics: topic %zu could be a topic of blocks"
				" (plugin_opt_block_topic), accepted are topics that no other option's cover",
				i + 1);
			return OTA_ERR_INVALID;
		}
	}
	return OTA_OK;
}

/* What no option can know alone. */
static enum ota_err options_check(
	const struct options *options, bool needs_acl_choice, struct ota_why *why)
{
	if (needs_acl_choice && options->acl_other_topics == ACL_OTHER_UNSET) {
		ota_why_set(why,
			"plugin_opt_acl_other_topics is missing: on Mosquitto 2.0 say `defer` (an"
			" acl_file or another ACL plugin decides about other topics) or `allow` (this broker has"
			" no ACL)");
		return OTA_ERR_INVALID;
	}
	if (options->intercept_push == INTERCEPT_PUSH_STAGE && options->control_users_count == 0) {
		ota_why_set(why,
			"plugin_opt_intercept_push is 'stage' and plugin_opt_control_users names nobody: name the user"
			" whose updates are to be staged, or take 'deny'");
		return OTA_ERR_INVALID;
	}
	for (size_t i = 0; i < options->notify_topics_count; i++) {
		if (option_topics_overlap(&options->notify_topics[i], &options->status_topic)) {
			ota_why_set(why,
				"plugin_opt_notify_topics: topic %zu could be a status topic"
				" (plugin_opt_status_topic), accepted are topics that no other option's cover",
				i + 1);
			return OTA_ERR_INVALID;
		}
		for (size_t j = 0; j < i; j++) {
			if (option_topics_overlap(&options->notify_topics[i], &options->notify_topics[j])) {
				ota_why_set(why,
					"plugin_opt_notify_topics: topics %zu and %zu could be the same,"
					" accepted are topics that differ in a level without braces",
					j + 1, i + 1);
				return OTA_ERR_INVALID;
			}
		}
	}
	return check_block_topic(options, why);
}

enum ota_err options_parse(const struct option_pair *pairs, size_t count, bool needs_acl_choice,
	struct options *options, struct ota_why *why)
{
	struct options found;
	bool seen[ROWS] = { false };
	enum ota_err err = OTA_OK;

	memset(&found, 0, sizeof(found));
	for (size_t i = 0; i < count; i++) {
		const struct option_row *row = option_find(pairs[i].key);

		if (!row) {
			err = option_unknown(pairs[i].key, why);
			goto out;
		}
		if (seen[row - rows]) {
			ota_why_set(why, "plugin_opt_%s is given twice, accepted is once", row->doc.name);
			err = OTA_ERR_INVALID;
			goto out;
		}
		seen[row - rows] = true;
		err = option_set(row, pairs[i].value, &found, why);
		if (err != OTA_OK) {
			goto out;
		}
	}
	for (size_t i = 0; i < ROWS && err == OTA_OK; i++) {
		if (!seen[i]) {
			err = option_default(&rows[i], &found, why);
		}
	}
	if (err == OTA_OK) {
		err = options_check(&found, needs_acl_choice, why);
	}
out:
	if (err == OTA_OK) {
		*options = found;
	} else {
		options_free(&found);
	}
	return err;
}

void options_free(struct options *options)
{
	if (!options) {
		return;
	}
	free(options->database);
	free(options->trusted_keys);
	free(options->url_credentials);
	free(options->state_directory);
	free(options->broker_name);
	free(options->firmware_directory);
	for (size_t i = 0; i < options->control_users_count; i++) {
		free(options->control_users[i]);
	}
	free(options->control_users);
	memset(options, 0, sizeof(*options));
}

const struct option_doc *options_docs(size_t *count)
{
	static struct option_doc docs[ROWS];

	for (size_t i = 0; i < ROWS; i++) {
		docs[i] = rows[i].doc;
	}
	*count = ROWS;
	return docs;
}
