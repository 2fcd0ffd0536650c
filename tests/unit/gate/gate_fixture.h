/*
 * gate_fixture - a gate on the fake broker, with an outbox that remembers events and clocks that the test turns.
 *
 * Thread: the test's.  Each test program includes it once.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/gate/gate.h"
#include "ota/gate/state.h"

#include "fake/broker.h"

enum {
	FIXTURE_EVENTS = 8192
};

struct fixture {
	struct gate *gate;
	struct options options;
	struct queue *changes;
	struct logring *log;
	struct event events[FIXTURE_EVENTS];
	uint8_t *records[FIXTURE_EVENTS]; /* the events point into them */
	size_t count;
	enum ota_err append_result;
	size_t waiting; /* of the events, those that came by gather() and were not written since */
	size_t writes;  /* append() and flush() that wrote something */
	enum ota_err flush_result;
	int reloads;
};

/* The clocks. */
static int64_t fixture_mono_us = 1000000;
static int64_t fixture_wall_ms = 1800000000000;
/* What a test adds to the links of its gates. */
static struct gate_links fixture_links;
/* Added with every look at the monotonic clock: work that takes time. */
static int64_t fixture_step_us;

static inline int64_t fixture_mono(void)
{
	fixture_mono_us += fixture_step_us;
	return fixture_mono_us;
}

static inline int64_t fixture_coarse(void)
{
	return fixture_mono_us;
}

static inline int64_t fixture_wall(void)
{
	return fixture_wall_ms;
}

static inline enum ota_err fixture_gather(void *context, const uint8_t *record, size_t length)
{
	struct fixture *f = context;

	if (f->append_result != OTA_OK) {
		return f->append_result;
	}
	assert_true(f->count < FIXTURE_EVENTS);
	f->records[f->count] = malloc(length);
	assert_non_null(f->records[f->count]);
	memcpy(f->records[f->count], record, length);
	assert_int_equal(event_decode(f->records[f->count], length, &f->events[f->count]), OTA_OK);
	f->count++;
	f->waiting++;
	return OTA_OK;
}

static inline enum ota_err fixture_append(void *context, const uint8_t *record, size_t length)
{
	struct fixture *f = context;
	enum ota_err err = fixture_gather(context, record, length);

	if (err == OTA_OK) {
		f->waiting = 0;
		f->writes++;
	}
	return err;
}

static inline enum ota_err fixture_flush(void *context)
{
	struct fixture *f = context;

	if (f->flush_result == OTA_OK && f->waiting > 0) {
		f->waiting = 0;
		f->writes++;
	}
	return f->flush_result;
}

static inline void fixture_reload(void *context)
{
	((struct fixture *)context)->reloads++;
}

static inline struct fixture *fixture_new_with(bool modern, const char *key, const char *value)
{
	const struct option_pair pairs[] = {
		{ "database", "postgresql:///ota" },
		{ "trusted_keys", "/etc/keys" },
		{ "acl_other_topics", "allow" },
		{ key, value },
	};
	struct fixture *f = calloc(1, sizeof(*f));
	struct ota_why why = { "" };
	struct gate_links links;

	assert_non_null(f);
	fake_reset(modern);
	if (options_parse(pairs, key == NULL ? 3 : 4, !modern, &f->options, &why) != OTA_OK) {
		fail_msg("%s", why.text);
	}
	f->changes = queue_new(65536);
	f->log = logring_new(64);
	assert_non_null(f->changes);
	assert_non_null(f->log);
	links = fixture_links;
	links.append = fixture_append;
	links.gather = fixture_gather;
	links.flush = fixture_flush;
	links.reload = fixture_reload;
	links.context = f;
	links.changes = f->changes;
	links.log = f->log;
	assert_int_equal(gate_start(NULL, &f->options, &links, modern, &f->gate, &why), OTA_OK);
	f->gate->clock = (struct gate_clock){
		.mono_us = fixture_mono, .coarse_us = fixture_coarse, .wall_ms = fixture_wall
	};
	fixture_step_us = 0;
	return f;
}

static inline struct fixture *fixture_new(bool modern)
{
	return fixture_new_with(modern, NULL, NULL);
}

static inline void fixture_forget(struct fixture *f)
{
	while (f->count > 0) {
		free(f->records[--f->count]);
	}
}

static inline void fixture_release(void *change)
{
	change_free(change);
}

static inline void fixture_free(struct fixture *f)
{
	gate_stop(f->gate);
	assert_int_equal(fake_callbacks(), 0);
	fixture_forget(f);
	queue_free(f->changes, fixture_release);
	logring_free(f->log);
	options_free(&f->options);
	fake_reset(false);
	free(f);
}

/* Events of this kind so far, and the last of them (there must be one). */
static inline size_t fixture_events(const struct fixture *f, enum event_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < f->count; i++) {
		count += f->events[i].kind == kind ? 1 : 0;
	}
	return count;
}

static inline const struct event *fixture_last(const struct fixture *f, enum event_kind kind)
{
	for (size_t i = f->count; i-- > 0;) {
		if (f->events[i].kind == kind) {
			return &f->events[i];
		}
	}
	fail_msg("there is no event of kind %s", event_kind_name(kind));
	abort();
}

static inline int fixture_acl(
	struct mosquitto *client, int access, const char *topic, const char *payload)
{
	struct mosquitto_evt_acl_check check = {
		.client = client,
		.topic = topic,
		.payload = payload,
		.payloadlen = payload == NULL ? 0 : (uint32_t)strlen(payload),
		.access = access,
	};

	return fake_call(MOSQ_EVT_ACL_CHECK, &check);
}

static inline int fixture_message_with(struct mosquitto *client, const char *topic,
	const char *payload, int qos, mosquitto_property *properties)
{
	char *topic_copy = strdup(topic);
	char *payload_copy = strdup(payload);
	struct mosquitto_evt_message message = {
		.client = client,
		.topic = topic_copy,
		.payload = payload_copy,
		.payloadlen = (uint32_t)strlen(payload),
		.qos = (uint8_t)qos,
		.properties = properties,
	};
	int result = fake_call(MOSQ_EVT_MESSAGE, &message);

	free(topic_copy);
	free(payload_copy);
	return result;
}

static inline int fixture_message(
	struct mosquitto *client, const char *topic, const char *payload, int qos)
{
	return fixture_message_with(client, topic, payload, qos, NULL);
}

static inline int fixture_disconnect(struct mosquitto *client, int reason)
{
	struct mosquitto_evt_disconnect disconnect = { .client = client, .reason = reason };

	return fake_call(MOSQ_EVT_DISCONNECT, &disconnect);
}

/* A tick, so much later. */
static inline long fixture_tick(int64_t later_ms)
{
	struct mosquitto_evt_tick tick = { .next_ns = -1 };

	fixture_mono_us += later_ms * 1000;
	assert_int_equal(fake_call(MOSQ_EVT_TICK, &tick), MOSQ_ERR_SUCCESS);
	return tick.next_ns;
}

/* As many as it takes until one looks at the clock though there is nothing to do. */
static inline void fixture_ticks(void)
{
	for (int i = 0; i < GATE_TICK_RARE; i++) {
		fixture_tick(0);
	}
}

/* A subscription that the broker grants. */
static inline int fixture_subscribe(struct mosquitto *client, const char *filter)
{
	int result = fixture_acl(client, MOSQ_ACL_SUBSCRIBE, filter, NULL);

	if (result == MOSQ_ERR_SUCCESS) {
		client->sub_count++;
	}
	return result;
}
