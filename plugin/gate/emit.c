#include "ota/gate/emit.h"

#include <stdio.h>
#include <string.h>

#include "ota/gate/state.h"

/* Refusals are recorded as a token bucket allows: a burst, then a trickle.  All of them are counted. */
enum {
	LIMIT_BURST_MILLI = 50000, /* thousandths of a token */
	LIMIT_PER_SECOND = 10,
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

enum ota_err emit_event(struct gate *gate, struct event *event)
{
	char device[NAME_MAX_BYTES];
	char client[NAME_MAX_BYTES];
	char topic[NAME_MAX_BYTES];
	struct event record = *event;
	size_t length = 0;

	record.at_ms = gate->clock.wall_ms();
	record.device = cut(event->device, device);
	record.client = cut(event->client, client);
	record.topic = cut(event->topic, topic);
	if (event_encode(&record, gate->record, sizeof(gate->record), &length) != OTA_OK) {
		return OTA_ERR_INVALID;
	}
	return gate->links.append(gate->links.context, gate->record, length);
}

void emit_or_lose(struct gate *gate, struct event *event)
{
	if (emit_event(gate, event) != OTA_OK) {
		gate->counters.events_lost++;
	}
}

static bool limit_take(struct gate_limit *limit, int64_t now_ms)
{
	int64_t gained = (now_ms - limit->filled_ms) * LIMIT_PER_SECOND;

	if (limit->filled_ms == 0 || gained > LIMIT_BURST_MILLI || gained < 0) {
		gained = LIMIT_BURST_MILLI;
	}
	limit->filled_ms = now_ms == 0 ? 1 : now_ms;
	limit->tokens_milli += gained;
	if (limit->tokens_milli > LIMIT_BURST_MILLI) {
		limit->tokens_milli = LIMIT_BURST_MILLI;
	}
	if (limit->tokens_milli < 1000) {
		return false;
	}
	limit->tokens_milli -= 1000;
	return true;
}

static void emit_refusal(struct gate *gate, enum event_kind kind, const struct mosquitto *client,
	const char *topic, const char *reason)
{
	char text[sizeof(((struct ota_why *)NULL)->text) + 64];
	struct gate_limit *limit = &gate->limit;
	struct event event = {
		.kind = kind,
		.device = client == NULL ? NULL : gate_identity(gate, client),
		.client = client == NULL ? NULL : mosquitto_client_id(client),
		.topic = topic,
		.text = reason,
	};

	if (!limit_take(limit, gate->clock.mono_us() / 1000)) {
		limit->suppressed++;
		return;
	}
	if (limit->suppressed > 0) {
		snprintf(text, sizeof(text), "%s (and %lld more refusals that were not recorded)", reason,
			(long long)limit->suppressed);
		event.text = text;
	}
	if (emit_event(gate, &event) == OTA_OK) {
		limit->suppressed = 0;
	} else {
		gate->counters.events_lost++;
	}
}

void emit_denied(
	struct gate *gate, const struct mosquitto *client, const char *topic, const char *reason)
{
	gate->counters.denied++;
	emit_refusal(gate, EVENT_DENIED, client, topic, reason);
}

void emit_malformed(
	struct gate *gate, const struct mosquitto *client, const char *topic, const char *reason)
{
	gate->counters.reports_malformed++;
	emit_refusal(gate, EVENT_MALFORMED, client, topic, reason);
}
