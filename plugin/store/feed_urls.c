/* Where fleets download: from the database to the gate, together with the credentials that the URLs are signed with. */
#include <stdlib.h>
#include <string.h>

#include "ota/store/pg_array.h"
#include "ota/wire/fleet_url.h"

#include "feed_internal.h"

static enum ota_err give_urls(struct feed *feed, const char *text, struct ota_why *why)
{
	struct change *change = change_new(CHANGE_URLS);
	char *copy = strdup(text);
	enum ota_err err = OTA_ERR_NOMEM;

	if (!change || !copy || fleet_urls_parse(text, feed->credentials, &change->urls)) {
		change_free(change);
		ota_why_set(why, "out of memory");
	} else {
		err = feed_push(feed, change, why);
	}
	if (err) {
		free(copy);
		return err;
	}
	free(feed->urls);
	feed->urls = copy;
	feed->urls_stale = false;
	return OTA_OK;
}

enum ota_err feed_urls(struct feed *feed, struct pg *pg, struct ota_why *why)
{
	struct pg_array names = { 0 };
	const char *values[2] = { feed->options->broker_name, NULL };
	PGresult *rows = NULL;
	const char *text;
	enum ota_err err;

	pg_array_begin(&names);
	for (size_t i = 0; feed->credentials && i < feed->credentials->count; i++) {
		pg_array_text(&names, feed->credentials->items[i].name);
	}
	values[1] = pg_array_end(&names);
	if (!values[1]) {
		pg_array_free(&names);
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	err = pg_exec(pg, "SELECT ota.broker_urls($1, $2::text[])", 2, values, &rows, why);
	pg_array_free(&names);
	if (err) {
		return err;
	}
	text = PQntuples(rows) > 0 ? pg_text(rows, 0, 0) : NULL;
	text = text ? text : "";
	if (feed->urls_stale || strcmp(text, feed->urls ? feed->urls : "") != 0) {
		err = give_urls(feed, text, why);
		if (!err) {
			warm_put(
				feed->warm, &(const struct warm_record){ .kind = WARM_URLS, .text = feed->urls });
		}
	}
	PQclear(rows);
	return err;
}

enum ota_err feed_restore_urls(struct feed *feed, struct ota_why *why)
{
	struct warm_record record;

	return warm_find(feed->warm, WARM_URLS, 0, NULL, &record) ? give_urls(feed, record.text, why)
															  : OTA_OK;
}

void feed_reload_credentials(struct feed *feed)
{
	struct credentials *credentials = NULL;
	struct ota_why why = { "" };

	if (!feed->options->url_credentials) {
		return;
	}
	if (credentials_read(feed->options->url_credentials, &credentials, &why)) {
		logring_printf(feed->log, LOG_LEVEL_ERROR,
			"%s was not read again, the earlier credentials stay: %s",
			feed->options->url_credentials, why.text);
		return;
	}
	credentials_free(feed->credentials);
	feed->credentials = credentials;
	feed->urls_stale = true;
	logring_printf(
		feed->log, LOG_LEVEL_NOTICE, "url credentials were read: %zu", credentials->count);
}

void feed_renew_urls(struct feed *feed)
{
	struct ota_why ignored;

	if (feed->urls_stale && feed->urls) {
		(void)!give_urls(feed, feed->urls, &ignored);
	}
}
