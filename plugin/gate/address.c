#include "ota/gate/address.h"

#include "ota/gate/state.h"

enum {
	LOG_EVERY_US = 60 * 1000000
};

void address_take(struct gate *gate, struct change *change)
{
	fleet_urls_free(gate->urls);
	gate->urls = change->urls;
	change->urls = NULL;
}

enum ota_err address_make(struct gate *gate, const struct change *offer,
	const struct manifest *manifest, struct address *address)
{
	struct fleet_url *fleet = fleet_urls_find(gate->urls, offer->fleet);
	int64_t now_us;
	enum ota_err err;

	address->url = NULL;
	if (fleet == NULL) {
		return OTA_OK;
	}
	err = fleet_url_make(fleet, manifest->url, gate->clock.wall_ms(), offer->deadline_ms,
		address->made, &address->why);
	if (err == OTA_OK) {
		address->url = address->made;
		return OTA_OK;
	}
	now_us = gate->clock.mono_us();
	if (gate->url_logged_us == 0 || now_us - gate->url_logged_us >= LOG_EVERY_US) {
		gate->url_logged_us = now_us;
		gate_log(MOSQ_LOG_ERR, "release %s is not told to fleet %s, no URL can be made: %s",
			manifest->terms.version, offer->fleet, address->why.text);
	}
	return err;
}
