/*
 * blocks_fixture - a gate that serves images in blocks, with a reading thread and a store that do what the test says.
 *
 * Thread: the test's.  Each test program includes it once.
 */
#pragma once

#include <mqtt_protocol.h>

#include "ota/gate/blocks.h"

#include "deliver_fixture.h"

#define SHA256  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER   "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define GET     "devices/dev-1/ota/block/get"
#define ANSWERS "devices/dev-1/ota/block"

enum {
	JOBS = 256,
	IMAGE = 1024 /* of the fixture's release */
};

/* The reading thread: what was submitted comes back in order, `held` back as long as the test wants. */
static struct block_job *jobs[JOBS];
static size_t submitted;
static size_t taken;
static bool held;
static enum block_status outcome;

static inline enum ota_err fake_submit(void *context, struct block_job *job)
{
	(void)context;
	assert_true(submitted - taken < JOBS);
	jobs[submitted++ % JOBS] = job;
	return OTA_OK;
}

static inline struct block_job *fake_take(void *context)
{
	struct block_job *job;

	(void)context;
	if (held || taken == submitted) {
		return NULL;
	}
	job = jobs[taken++ % JOBS];
	job->status = outcome;
	for (uint32_t i = 0; i < job->length; i++) {
		job->data[i] = (uint8_t)(job->offset + i);
	}
	return job;
}

/* The store: counts questions, and remembers the last. */
static size_t questions;
static int64_t asked_session;

static inline enum ota_err fake_updating(void *context, const char *device, int64_t session)
{
	(void)context;
	(void)device;
	questions++;
	asked_session = session;
	return OTA_OK;
}

static inline void answer_question(
	struct fixture *f, const char *device, bool live, const char *via)
{
	struct change *change = change_new(CHANGE_UPDATING);

	assert_non_null(change);
	change->device = strdup(device);
	change->via = via == NULL ? NULL : strdup(via);
	change->live = live;
	change->rollout = live ? ROLLOUT : 0;
	change->attempt = 1;
	change->release_id = RELEASE;
	change->value = asked_session;
	push(f, change);
	fixture_tick(20);
}

static inline struct fixture *block_fixture(void)
{
	struct fixture *f;

	submitted = taken = questions = 0;
	held = false;
	outcome = BLOCK_OK;
	fixture_links = (struct gate_links){
		.block_submit = fake_submit, .block_take = fake_take, .updating = fake_updating
	};
	f = fixture_new_with(false, "firmware_directory", "/srv/firmware");
	give_release(f);
	set_live(f, true);
	return f;
}

/* A device that has been told. */
static inline struct fixture *told_fixture(struct mosquitto *client)
{
	struct fixture *f = block_fixture();

	fixture_subscribe(client, "fleet/north/ota/available");
	fixture_tick(20);
	push(f, new_offer("dev-1", 1));
	fixture_tick(20);
	assert_non_null(fake_publish_on("fleet/north/ota/available"));
	fixture_tick(20);
	fixture_forget(f);
	fake_forget_publishes();
	return f;
}

static inline int ask_on(
	struct mosquitto *client, const char *topic, const char *sha256, int64_t offset, int64_t length)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"sha256\":\"%s\",\"offset\":%lld,\"length\":%lld}", sha256,
		(long long)offset, (long long)length);
	return fixture_message(client, topic, text, 1);
}

static inline int ask(struct mosquitto *client, int64_t offset, int64_t length)
{
	return ask_on(client, GET, SHA256, offset, length);
}

/* The last answer on the topic: its status, or -1. */
static inline int status_on(const char *topic)
{
	const struct fake_publish *publish = fake_publish_on(topic);

	if (publish == NULL) {
		return -1;
	}
	assert_true(publish->length >= BLOCK_HEADER && publish->payload[0] == BLOCK_VERSION);
	return publish->payload[1];
}
