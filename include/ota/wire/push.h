/*
 * push - an update that a back end publishes to a whole fleet, as it did before the broker was the gate.
 *
 * Thread: any.
 * Source of the shape: what devices read in a notice; see docs/protocol.md.
 */
#pragma once

#include <stddef.h>

#include "ota/base/error.h"
#include "ota/wire/control.h"

enum {
	PUSH_URL_MAX = 2048,
	PUSH_NOTES_MAX = 16384,
	PUSH_SIGNATURE_MAX = 16384, /* characters of base64 */
};

/*
 * Make the command push_release of {"version","url","sha256","size","releaseNotes" and "signature" or "manifest"}, for `fleet` (a valid id).
 * Without a manifest all but releaseNotes are needed; beside one they may be left out, and the command's SQL compares them with it.  A
 * member that is null counts as absent; others are ignored: back ends send more than devices read.
 * OTA_ERR_INVALID with the reason: not one JSON object, a member that is missing or is not of its kind, neither signature nor
 * manifest, larger than CONTROL_PAYLOAD_MAX; OTA_ERR_NOMEM.
 * `*request` is the caller's (control_request_free()); its client, user and topic are not set.
 */
OTA_MUST_USE enum ota_err push_parse(const char *payload, size_t length, const char *fleet,
	struct control_request **request, struct ota_why *why);

/* Name where it was published and by whom, for the record: topic and client of the request, which belong to it.  OTA_ERR_NOMEM. */
OTA_MUST_USE enum ota_err push_name(
	struct control_request *request, const char *topic, const char *client, const char *user);
