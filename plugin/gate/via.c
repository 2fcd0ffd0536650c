#include "ota/gate/via.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/gate/emit.h"
#include "ota/gate/state.h"

static void drop_child(struct via *via, struct via_child *child)
{
	limit_keep(&via->limits, keyhash(child->key, strlen(child->key)), &child->reports);
	HASH_DEL(via->children, child);
	DL_DELETE(child->session->children, child);
	child->session->children_count--;
	free(child);
}

void via_set_gateways(struct via *via, const char *names)
{
	struct via_gateway *gateway;
	struct via_gateway *next;

	HASH_ITER(hh, via->gateways, gateway, next) {
		HASH_DEL(via->gateways, gateway);
		free(gateway);
	}
	while (names != NULL && names[0] != '\0') {
		size_t length = strcspn(names, "\n");

		gateway = calloc(1, sizeof(*gateway) + length + 1);
		if (gateway != NULL) {
			memcpy(gateway->name, names, length);
			HASH_ADD_KEYPTR(hh, via->gateways, gateway->name, length, gateway);
			if (gateway->hh.tbl == NULL) {
				free(gateway);
			}
		}
		names += length + (names[length] == '\n' ? 1 : 0);
	}
}

void via_clear(struct via *via)
{
	struct via_child *child;
	struct via_child *next;

	HASH_ITER(hh, via->children, child, next) {
		drop_child(via, child);
	}
	via_set_gateways(via, NULL);
}

static bool is_gateway(const struct gate *gate, const char *identity)
{
	struct via_gateway *gateway = NULL;

	if (identity == NULL || !topic_id_valid(identity, strlen(identity))) {
		return false;
	}
	HASH_FIND(hh, gate->via.gateways, identity, strlen(identity), gateway);
	return gateway != NULL;
}

bool via_may_listen(const struct gate *gate, const char *identity)
{
	return !gate->via.known || is_gateway(gate, identity);
}

bool via_may_report(const struct gate *gate, const char *identity, const struct policy_topic *topic)
{
	return (topic->subject == POLICY_STATUS || topic->subject == POLICY_BLOCK_GET) && topic->exact
		&& topic->placeholder == TOPIC_DEVICE && is_gateway(gate, identity);
}

struct via_child *via_child_of(const struct via *via, const char *gateway, const char *device)
{
	struct via_child *child = NULL;
	char key[2 * TOPIC_ID_MAX + 2];
	int length = snprintf(key, sizeof(key), "%s\n%s", gateway, device);

	if (length > 0 && (size_t)length < sizeof(key)) {
		HASH_FIND(hh, via->children, key, (size_t)length, child);
	}
	return child;
}

enum ota_err via_speaks(struct gate *gate, struct session *gateway, const char *device)
{
	struct via_child *child = via_child_of(&gate->via, gateway->device, device);
	size_t before = strlen(gateway->device);
	size_t length = before + 1 + strlen(device);

	if (child != NULL && child->session == gateway) {
		goto out;
	}
	if (child != NULL) { /* of an earlier connection of the same gateway */
		drop_child(&gate->via, child);
	}
	if (gateway->children_count >= VIA_CHILDREN_MAX) {
		return OTA_ERR_FULL;
	}
	child = calloc(1, sizeof(*child) + length + 1);
	if (child == NULL) {
		return OTA_ERR_NOMEM;
	}
	memcpy(child->key, gateway->device, before);
	child->key[before] = '\n';
	memcpy(child->key + before + 1, device, length - before - 1);
	child->device = child->key + before + 1;
	child->session = gateway;
	HASH_ADD_KEYPTR(hh, gate->via.children, child->key, length, child);
	if (child->hh.tbl == NULL) {
		free(child);
		return OTA_ERR_NOMEM;
	}
	limit_again(&gate->via.limits, keyhash(child->key, length), &child->reports);
	DL_APPEND(gateway->children, child);
	gateway->children_count++;
out:
	if (!child->listening) {
		sessions_wait(&gate->sessions, gateway);
	}
	return OTA_OK;
}

static struct event event_of(const struct via_child *child, enum event_kind kind)
{
	return (struct event){
		.kind = kind,
		.session = child->session->number,
		.flags = EVENT_FLAG_VIA | EVENT_FLAG_IF_KNOWN,
		.device = child->device,
		.client = child->session->client_id,
		.fleet = child->session->device,
	};
}

enum ota_err via_confirm(struct gate *gate, struct session *gateway)
{
	struct via_child *child;

	if (mosquitto_client_sub_count(gateway->client) <= 0) {
		return OTA_OK;
	}
	DL_FOREACH(gateway->children, child) {
		struct event event = event_of(child, EVENT_LISTENING);
		enum ota_err err;

		if (child->listening) {
			continue;
		}
		err = emit_gather(gate, &event);
		if (err != OTA_OK) {
			return err;
		}
		child->listening = true;
		deliver_owed(gate, gateway, child->device);
	}
	return OTA_OK;
}

bool via_waits(const struct session *gateway)
{
	const struct via_child *child;

	DL_FOREACH(gateway->children, child) {
		if (!child->listening) {
			return true;
		}
	}
	return false;
}

void via_end(struct gate *gate, struct session *gateway, const char *reason)
{
	while (gateway->children != NULL) {
		struct via_child *child = gateway->children;
		struct event event = event_of(child, EVENT_DISCONNECTED);

		event.text = reason;
		emit_gather_or_lose(gate, &event);
		deliver_session_ends(gate, gateway, child->device);
		drop_child(&gate->via, child);
	}
}
