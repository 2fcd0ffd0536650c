/*
 * options_value - the values of options, one parser a kind of value; private to options.c.
 *
 * A parser reads `value` (trimmed) into `field`, a member of `options` that is still zeroed.  OTA_ERR_INVALID: not accepted; the
 * caller says what is, unless `detail` was set.  OTA_ERR_NOMEM.  What it allocates belongs to `options`.
 * Thread: broker, at start.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ota/base/error.h"
#include "ota/wire/options.h"

enum ota_err option_text(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_absolute_path(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_name(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_signature_policy(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_device_identity(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_enroll(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_intercept_push(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_reports_per_minute(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_acl_other_topics(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_threshold(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_outbox_max_bytes(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_offline_serve_seconds(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_outbox_sync_ms(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_status_topic(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_notify_topics(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_block_topic(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_block_rate(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_block_max_bytes(
	struct options *options, void *field, const char *value, struct ota_why *detail);
enum ota_err option_control_users(
	struct options *options, void *field, const char *value, struct ota_why *detail);

/*
 * A copy of the value (NULL counts as "") without blanks around it and without a comment: Mosquitto itself hands over the
 * rest of the line, also " # words".  A '#' inside single quotes is libpq's, and one without a blank before it is kept.
 * NULL: no memory.
 */
OTA_MUST_USE char *option_value_trim(const char *value);

/* How many letters must be changed, added or left out to get from one name to the other; at least the difference in length. */
OTA_MUST_USE size_t option_name_distance(const char *left, const char *right);

/* Is there a topic that has the shape of both? */
OTA_MUST_USE bool option_topics_overlap(
	const struct topic_template *left, const struct topic_template *right);
