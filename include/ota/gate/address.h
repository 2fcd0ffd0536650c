/*
 * address - the URL in a notice: the fleet's, when it has one, else the manifest's.
 *
 * Thread: broker.
 */
#pragma once

#include "ota/base/error.h"
#include "ota/wire/change.h"
#include "ota/wire/fleet_url.h"

struct gate;

struct address {
	const char *url; /* NULL: the manifest's */
	char made[FLEET_URL_MAX];
	struct ota_why why; /* when none could be made */
};

/* Take over what a CHANGE_URLS brings, in place of what was known. */
void address_take(struct gate *gate, struct change *change);

/*
 * The URL that the device of this offer is told, for a release with this manifest, signed now and until the offer's deadline.  Any error: none can be made,
 * `why` says it, and so does the log, once a minute.
 */
OTA_MUST_USE enum ota_err address_make(struct gate *gate, const struct change *offer,
	const struct manifest *manifest, struct address *address);
