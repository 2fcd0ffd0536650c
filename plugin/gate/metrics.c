#include "ota/gate/metrics.h"

#include <stdio.h>
#include <string.h>

#include "ota/gate/state.h"

enum {
	METRICS_EVERY_US = 10000000
};

void metrics_publish(const char *name, const char *text)
{
	char topic[TOPIC_MAX];
	size_t length = text == NULL ? 0 : strlen(text);
	char *payload = NULL;

	if (snprintf(topic, sizeof(topic), "$SYS/broker/ota/%s", name) >= (int)sizeof(topic)
		|| mosquitto_pub_topic_check(topic) != MOSQ_ERR_SUCCESS || length > INT32_MAX) {
		return;
	}
	if (length > 0) {
		/* The broker's own allocator: it frees the payload and accounts for it. */
		payload = mosquitto_malloc(length + 1);
		if (payload == NULL) {
			return;
		}
		memcpy(payload, text, length + 1);
	}
	if (mosquitto_broker_publish(NULL, topic, (int)length, payload, 0, true, NULL)
		!= MOSQ_ERR_SUCCESS) {
		mosquitto_free(payload);
	}
}

void metrics_publish_number(const char *name, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	metrics_publish(name, text);
}

void metrics_work(struct gate *gate, int64_t now_us)
{
	const struct gate_counters *counters = &gate->counters;
	const struct {
		const char *name;
		int64_t value;
	} figures[METRICS_COUNT] = {
		{ "reports/received", counters->reports_received },
		{ "reports/malformed", counters->reports_malformed },
		{ "reports/refused", counters->reports_refused },
		{ "reports/limited", counters->reports_limited },
		{ "denied", counters->denied },
		{ "notices/sent", counters->notices_sent },
		{ "recalls/sent", counters->recalls_sent },
		{ "undelivered", counters->undelivered },
		{ "events/lost", counters->events_lost },
		{ "blocks/sent", counters->blocks_sent },
		{ "blocks/bytes", counters->block_bytes },
		{ "devices/connected", (int64_t)gate->sessions.connected },
		{ "devices/listening", (int64_t)gate->sessions.listening },
	};

	if (gate->metrics_at_us != 0 && now_us - gate->metrics_at_us < METRICS_EVERY_US) {
		return;
	}
	gate->metrics_at_us = now_us == 0 ? 1 : now_us;
	for (size_t i = 0; i < METRICS_COUNT; i++) {
		if (figures[i].value == gate->metrics_last[i]) {
			continue;
		}
		gate->metrics_last[i] = figures[i].value;
		metrics_publish_number(figures[i].name, figures[i].value);
	}
}
