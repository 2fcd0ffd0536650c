/*
 * options - the plugin_opt_ lines of mosquitto.conf, from one table.
 *
 * Thread: broker, at start.  The parsed options own their strings; free with options_free().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/wire/release.h"
#include "ota/wire/topic.h"

enum device_identity {
	DEVICE_IDENTITY_CLIENTID = 0,
	DEVICE_IDENTITY_USERNAME
};
enum enroll {
	ENROLL_AUTO = 0,
	ENROLL_KNOWN
};
enum acl_other_topics {
	ACL_OTHER_UNSET = 0,
	ACL_OTHER_DEFER,
	ACL_OTHER_ALLOW
};

enum intercept_push {
	INTERCEPT_PUSH_DENY = 0,
	INTERCEPT_PUSH_STAGE
};

struct option_pair {
	const char *key;   /* without plugin_opt_ */
	const char *value; /* the rest of the line; NULL counts as "" */
};

struct options {
	char *database;
	char *trusted_keys;
	char *url_credentials; /* a file; NULL: none */
	enum signature_policy signature_policy;
	int32_t signature_threshold; /* 1..16 */
	enum device_identity device_identity;
	enum enroll enroll;
	char *state_directory;
	struct topic_template status_topic;
	struct topic_template notify_topics[TOPIC_TEMPLATES_MAX];
	size_t notify_topics_count;
	char **control_users;
	size_t control_users_count;
	char *broker_name;
	enum intercept_push intercept_push;
	int32_t reports_per_minute; /* of one device; default 6000; 0: no limit */
	enum acl_other_topics acl_other_topics;
	int64_t outbox_max_bytes;      /* default 1 GiB */
	int32_t outbox_sync_ms;        /* default 1000 */
	int32_t offline_serve_seconds; /* default 600 */
	char *firmware_directory;      /* images served in blocks; NULL: none are */
	struct topic_template block_topic;
	struct topic_template block_get_topic; /* block_topic and "/get" */
	int64_t block_bytes_per_second;        /* of all devices together; default 4 MiB; 0: no limit */
	int32_t block_max_bytes;               /* of one block; default 16384 */
};

/*
 * Parse all options.  OTA_ERR_INVALID with one line that names the option, its value and what is accepted: unknown or repeated
 * option, value that does not parse, missing required option.  Whether libpq would take the conninfo string pg_conninfo_check() says.
 * Mosquitto hands over the rest of a line as it is, so blanks around a value and a comment behind it (" # words", not inside
 * libpq's single quotes) are cut here.  Topics that could be the same as another's are refused.  A value of `database` is never
 * shown.  `options` is set only on OTA_OK; `why` may be NULL.
 * `needs_acl_choice`: the broker is a 2.0, where acl_other_topics is required.
 */
OTA_MUST_USE enum ota_err options_parse(const struct option_pair *pairs, size_t count,
	bool needs_acl_choice, struct options *options, struct ota_why *why);
/* Frees the strings and zeroes the struct; NULL and twice are fine. */
void options_free(struct options *options);

/* One row of the table, for the reference page: name, default ("" = none), what is accepted. */
struct option_doc {
	const char *name;
	const char *fallback;
	const char *accepted;
	bool required;
};
/* All rows, in the order of the page; they are static. */
const struct option_doc *options_docs(size_t *count);
