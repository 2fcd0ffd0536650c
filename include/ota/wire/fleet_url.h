/*
 * fleet_url - where the devices of a fleet download, when that is not where the manifest says: ota.set_fleet_url().
 *
 * A template is scheme://host[:port][/prefix]{path}: the path of the manifest's URL takes the place of {path}, as it is, and stays the one thing
 * that is signed about the place.  With a credential the URL is pre-signed for a bucket.
 * Thread: any, one at a time: made by the store, used by the gate.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/wire/credentials.h"
#include "ota/wire/presign.h"

enum {
	FLEET_URL_TEMPLATE_MAX = 512, /* bytes */
	FLEET_URL_MAX = 4096,         /* bytes of a URL, with its zero */
};

/* A template, taken apart; free with fleet_url_template_free(). */
struct fleet_url_template {
	char *origin;     /* scheme://host[:port], without a port that is the scheme's own */
	const char *host; /* host[:port], in origin */
	char *prefix;     /* "" or /a/b */
};

/* OTA_ERR_INVALID: the reason names what is wrong and what is accepted; OTA_ERR_NOMEM.  Nothing is kept then. */
OTA_MUST_USE enum ota_err fleet_url_template_parse(
	const char *text, struct fleet_url_template *out, struct ota_why *why);
void fleet_url_template_free(struct fleet_url_template *template);

/* The URLs of one fleet. */
struct fleet_url {
	char *fleet;
	struct fleet_url_template template;
	struct credential *credential; /* a copy of its own; NULL: nothing is signed */
	struct presign_day day;
	char *trouble; /* why no URL can be made at all; NULL: it can */
};

/* Of all fleets that have one. */
struct fleet_urls;

/*
 * Parse what the database has: a line a fleet, `fleet TAB template TAB credential`, the last one empty for none.  A line that cannot be used
 * becomes a fleet whose URLs cannot be made.  `credentials` (NULL: none) stay the caller's.  Only OTA_ERR_NOMEM fails.
 */
OTA_MUST_USE enum ota_err fleet_urls_parse(
	const char *text, const struct credentials *credentials, struct fleet_urls **out);
void fleet_urls_free(struct fleet_urls *urls);
/* NULL: this fleet downloads where the manifest says.  `urls` and `fleet` may be NULL. */
struct fleet_url *fleet_urls_find(struct fleet_urls *urls, const char *fleet);

/*
 * The URL for a release, from the URL of its verified manifest.  A signed one is good until `until_ms`, rounded up, and at most seven days (0: seven days);
 * all times are in ms since the epoch.  OTA_ERR_INVALID: none can be made, the reason says why; OTA_ERR_NOMEM.  `out` is set on OTA_OK only.
 */
OTA_MUST_USE enum ota_err fleet_url_make(struct fleet_url *url, const char *manifest_url,
	int64_t now_ms, int64_t until_ms, char out[FLEET_URL_MAX], struct ota_why *why);
