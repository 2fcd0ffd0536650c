#include "ota/gate/emit.h"

#include <stdio.h>
#include <string.h>

#include "ota/gate/state.h"

/*
 * Refusals are recorded as two token buckets allow, one of the client and one of all: a burst, then a trickle.  Whoever floods
 * empties its own first, so that others are seen through the flood.  All refusals are counted.
 */
struct limit_rule {
	int64_t burst_milli; /* thousandths of a token */
	int64_t per_second;
};

static const struct limit_rule limit_all = { 50000, 10 };
static const struct limit_rule limit_client = { 20000, 2 };

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

static bool limit_take(struct gate_limit *limit, const struct limit_rule *rule, int64_t now_ms)
{
	int64_t gained = (now_ms - limit->filled_ms) * rule->per_second;

	if (limit->filled_ms == 0 || gained > rule->burst_milli || gained < 0) {
		gained = rule->burst_milli;
	}
	limit->filled_ms = now_ms == 0 ? 1 : now_ms;
	limit->tokens_milli += gained;
	if (limit->tokens_milli > rule->burst_milli) {
		limit->tokens_milli = rule->burst_milli;
	}
	if (limit->tokens_milli < 1000) {
		return false;
	}
	limit->tokens_milli -= 1000;
	return true;
}

/* By name, so that a new connection is no new bucket; names that share one only see less of each other (FNV-1a). */
static struct gate_limit *limit_of(struct gate *gate, const char *client_id)
{
	uint32_t hash = 2166136261U;

	for (const char *at = client_id == NULL ? "" : client_id; *at != '\0'; at++) {
		hash = (hash ^ (unsigned char)*at) * 16777619U;
	}
	return &gate->limit_clients[(hash ^ hash >> 16) % GATE_LIMITS];
}

static void emit_refusal(struct gate *gate, enum event_kind kind, const struct mosquitto *client,
	const char *topic, const char *reason)
{
	char text[sizeof(((struct ota_why *)NULL)->text) + 64];
	const int64_t now_ms = gate->clock.mono_us() / 1000;
	struct event event = {
		.kind = kind,
		.device = client == NULL ? NULL : gate_identity(gate, client),
		.client = client == NULL ? NULL : mosquitto_client_id(client),
		.topic = topic,
		.text = reason,
	};
	struct gate_limit *limit = limit_of(gate, event.client);

	if (!limit_take(limit, &limit_client, now_ms)
		|| !limit_take(&gate->limit_all, &limit_all, now_ms)) {
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
