#include "ota/gate/emit.h"

#include <stdio.h>
#include <string.h>

#include "ota/base/keyhash.h"
#include "ota/gate/state.h"

/*
 * Refusals are recorded as two token buckets allow, one of the client and one of all: a burst, then a trickle.  Whoever floods
 * empties its own first, so that others are seen through the flood.  All refusals are counted.
 */
static const struct limit_rule limit_all = { .burst = 50, .per_minute = 600 };
static const struct limit_rule limit_client = { .burst = 20, .per_minute = 120 };

enum {
	NAME_MAX_BYTES = 512
};

/* Names of clients and topics may have 65,535 bytes; a record holds their beginning, cut between characters. */
static const char *cut(const char *text, char out[NAME_MAX_BYTES])
{
	size_t length = text == NULL ? 0 : strlen(text);

	if (length < NAME_MAX_BYTES) {
		return text;
	}
	length = NAME_MAX_BYTES - 1;
	while (length > 0 && ((unsigned char)text[length] & 0xC0U) == 0x80U) {
		length--;
	}
	memcpy(out, text, length);
	out[length] = '\0';
	return out;
}

static bool is_long(const char *text)
{
	return text != NULL && strnlen(text, NAME_MAX_BYTES) == NAME_MAX_BYTES;
}

/* Apart from the others, because its buffers are cleared at each call. */
__attribute__((noinline)) static enum ota_err encode_cut(
	struct gate *gate, const struct event *event, size_t *length)
{
	char device[NAME_MAX_BYTES];
	char client[NAME_MAX_BYTES];
	char topic[NAME_MAX_BYTES];
	struct event record = *event;

	record.device = cut(event->device, device);
	record.client = cut(event->client, client);
	record.topic = cut(event->topic, topic);
	return event_encode(&record, gate->record, sizeof(gate->record), length);
}

static enum ota_err emit(struct gate *gate, struct event *event,
	enum ota_err (*keep)(void *context, const uint8_t *record, size_t length))
{
	size_t length = 0;
	enum ota_err err;

	event->at_ms = gate->clock.wall_ms();
	err = event_encode(event, gate->record, sizeof(gate->record), &length);
	/* In a short record there is no long name. */
	if ((err != OTA_OK || length > NAME_MAX_BYTES)
		&& (is_long(event->device) || is_long(event->client) || is_long(event->topic))) {
		err = encode_cut(gate, event, &length);
	}
	return err == OTA_OK ? keep(gate->links.context, gate->record, length) : OTA_ERR_INVALID;
}

enum ota_err emit_event(struct gate *gate, struct event *event)
{
	return emit(gate, event, gate->links.append);
}

enum ota_err emit_gather(struct gate *gate, struct event *event)
{
	gate->gathered = true;
	return emit(gate, event, gate->links.gather);
}

void emit_flush(struct gate *gate)
{
	if (gate->gathered) {
		gate->gathered = gate->links.flush(gate->links.context) != OTA_OK;
	}
}

void emit_gather_or_lose(struct gate *gate, struct event *event)
{
	if (emit_gather(gate, event) != OTA_OK) {
		gate->counters.events_lost++;
	}
}

void emit_or_lose(struct gate *gate, struct event *event)
{
	if (emit_event(gate, event) != OTA_OK) {
		gate->counters.events_lost++;
	}
}

/* By name, so that a new connection is no new bucket; nobody can choose the name that empties another one's. */
static struct gate_refusals *refusals_of(struct gate *gate, const char *client_id)
{
	const char *name = client_id == NULL ? "" : client_id;

	return &gate->refusals[keyhash(name, strlen(name)) % GATE_LIMITS];
}

/* True: the buckets had a token for it. */
static bool emit_refusal(struct gate *gate, const struct event *refusal)
{
	char text[sizeof(((struct ota_why *)NULL)->text) + 64];
	const int64_t now_ms = gate->clock.mono_us() / 1000;
	struct gate_refusals *refusals = refusals_of(gate, refusal->client);
	struct event event = *refusal;

	if (!limit_take(&refusals->limit, &limit_client, now_ms)
		|| !limit_take(&gate->refusals_all, &limit_all, now_ms)) {
		refusals->suppressed++;
		return false;
	}
	if (refusals->suppressed > 0) {
		snprintf(text, sizeof(text), "%s (and %lld more refusals that were not recorded)",
			event.text, (long long)refusals->suppressed);
		event.text = text;
	}
	if (emit_event(gate, &event) != OTA_OK) {
		gate->counters.events_lost++;
		return true; /* all the more a case for the log */
	}
	refusals->suppressed = 0;
	return true;
}

static struct event refusal_of(const struct gate *gate, enum event_kind kind,
	const struct mosquitto *client, const char *topic, const char *reason)
{
	return (struct event){
		.kind = kind,
		.device = client == NULL ? NULL : gate_identity(gate, client),
		.client = client == NULL ? NULL : mosquitto_client_id(client),
		.topic = topic,
		.text = reason,
	};
}

void emit_denied(
	struct gate *gate, const struct mosquitto *client, const char *topic, const char *reason)
{
	const struct event event = refusal_of(gate, EVENT_DENIED, client, topic, reason);

	gate->counters.denied++;
	(void)emit_refusal(gate, &event);
}

bool emit_denied_named(
	struct gate *gate, const char *client_id, const char *topic, const char *reason)
{
	const struct event event = {
		.kind = EVENT_DENIED,
		.client = client_id,
		.topic = topic,
		.text = reason,
	};

	gate->counters.denied++;
	return emit_refusal(gate, &event);
}

void emit_malformed(
	struct gate *gate, const struct mosquitto *client, const char *topic, const char *reason)
{
	const struct event event = refusal_of(gate, EVENT_MALFORMED, client, topic, reason);

	gate->counters.reports_malformed++;
	(void)emit_refusal(gate, &event);
}
