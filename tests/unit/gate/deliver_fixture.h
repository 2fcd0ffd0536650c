/*
 * deliver_fixture - releases, rollouts and offers for a gate on the fake broker.
 *
 * Thread: the test's.  Each test program includes it once; changes belong to the queue once pushed.
 */
#pragma once

#include "ota/wire/manifest.h"

#include "gate_fixture.h"

enum {
	RELEASE = 7,
	ROLLOUT = 17
};

static inline void push(struct fixture *f, struct change *change)
{
	assert_non_null(change);
	assert_true(queue_push(f->changes, change));
}

static inline void give_release_until(struct fixture *f, const char *expires)
{
	static const char head[] =
		"{\"schema\":1,\"version\":\"1.5.0\",\"sequence\":5,\"url\":\"https://cdn.example.com/1.5.0.bin\","
		"\"sha256\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"size\":1024,"
		"\"hardware\":[\"hw1\"],\"fleets\":[\"north\",\"south\"]";
	char json[1024];
	struct change *change = change_new(CHANGE_RELEASE);
	struct ota_why why = { "" };

	assert_non_null(change);
	change->release_id = RELEASE;
	change->release = calloc(1, sizeof(*change->release));
	assert_non_null(change->release);
	change->release->release_id = RELEASE;
	snprintf(json, sizeof(json), "%s%s%s%s}", head, expires == NULL ? "" : ",\"expires\":\"",
		expires == NULL ? "" : expires, expires == NULL ? "" : "\"");
	if (manifest_parse(json, strlen(json), &change->release->manifest, &why) != OTA_OK) {
		fail_msg("%s", why.text);
	}
	push(f, change);
}

static inline void give_release(struct fixture *f)
{
	give_release_until(f, NULL);
}

static inline void set_live(struct fixture *f, bool live)
{
	struct change *change = change_new(CHANGE_ROLLOUT);

	assert_non_null(change);
	change->rollout = ROLLOUT;
	change->live = live;
	change->serves = live;
	change->text = strdup(live ? "{\"state\":\"running\"}" : "{\"state\":\"halted\"}");
	push(f, change);
}

static inline struct change *new_offer(const char *device, int32_t attempt)
{
	struct change *change = change_new(CHANGE_OFFER);

	assert_non_null(change);
	change->device = strdup(device);
	change->fleet = strdup("north");
	change->hardware = strdup("hw1");
	change->version = strdup("1.0.0");
	change->stage = strdup("canary");
	change->sequence = 1;
	change->rollout = ROLLOUT;
	change->attempt = attempt;
	change->release_id = RELEASE;
	change->deadline_ms = fixture_wall_ms + 3600000;
	return change;
}

static inline struct change *new_recall(const char *device)
{
	struct change *change = change_new(CHANGE_RECALL);

	assert_non_null(change);
	change->device = strdup(device);
	change->version = strdup("1.5.0");
	change->rollout = ROLLOUT;
	return change;
}

static inline struct fixture *fixture_ready(struct mosquitto *client)
{
	struct fixture *f = fixture_new(false);

	give_release(f);
	set_live(f, true);
	fixture_subscribe(client, "fleet/north/ota/available");
	fixture_tick(20);
	fixture_forget(f);
	fake_forget_publishes();
	return f;
}
