/* Turns, pace, and answers; see ota/gate/blocks.h. */
#include <mqtt_protocol.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/gate/blocks.h"
#include "ota/gate/deliver.h"
#include "ota/gate/state.h"

#include "blocks_internal.h"

enum {
	/* The emptiest bucket (a largest block below nothing) is full then, at the slowest rate; and nothing overflows at the fastest. */
	FULL_AFTER_US = 32000000,
};

/* Answers without bytes, of one session: whoever floods with nonsense is not flooded back. */
static const struct limit_rule limit_errors = { .burst = 64, .per_minute = 600 };

/* Gives `payload`, of the broker's allocator, to the one client that asked.  False: it did not go. */
static bool publish(struct gate *gate, const struct session *session, const char *device,
	const struct properties *answer, uint8_t *payload, size_t length)
{
	char topic[TOPIC_MAX];
	const char *where = answer->response_topic;
	mosquitto_property *properties = NULL;

	if (where == NULL) {
		if (topic_render(&gate->options->block_topic, device, topic, sizeof(topic)) != OTA_OK) {
			goto fail;
		}
		where = topic;
	}
	if (answer->correlation != NULL
		&& mosquitto_property_add_binary(&properties, MQTT_PROP_CORRELATION_DATA,
			   answer->correlation, answer->correlation_length)
			!= MOSQ_ERR_SUCCESS) {
		goto fail;
	}
	if (mosquitto_broker_publish(
			session->client_id, where, (int)length, payload, 1, false, properties)
		== MOSQ_ERR_SUCCESS) {
		return true;
	}
	mosquitto_property_free_all(&properties);
fail:
	mosquitto_free(payload);
	return false;
}

void blocks_answer_without(struct gate *gate, struct session *session, const char *device,
	const struct properties *answer, const struct block_header *header)
{
	uint8_t *payload;

	if (!limit_take(&session->block_errors, &limit_errors, gate->clock.mono_us() / 1000)) {
		return;
	}
	payload = mosquitto_malloc(BLOCK_HEADER + 1);
	if (payload != NULL) {
		block_header_write(header, payload);
		payload[BLOCK_HEADER] = '\0';
		(void)publish(gate, session, device, answer, payload, BLOCK_HEADER);
	}
}

static void without(struct gate *gate, const struct block_client *client,
	const struct block_want *want, enum block_status status)
{
	const struct block_header header = {
		.status = status,
		.retry_after = status == BLOCK_LATER ? BLOCKS_RETRY_SECONDS
			: status == BLOCK_MISSING        ? BLOCKS_MISSING_SECONDS
											 : 0,
		.length = want->length,
		.offset = (uint64_t)want->offset,
	};

	blocks_answer_without(gate, client->session, client->device, &want->answer, &header);
}

/* Asked again whenever something is about to be done for it: a halt or a revoked key stops what waits, too. */
static enum block_status still_granted(struct gate *gate, struct block_client *client,
	const struct block_want *want, const struct deliver_release **release)
{
	const char *reason = "";

	switch (grant_ask(gate, client, release, &reason)) {
	case GRANT_YES:
		return (*release)->release_id == want->release_id ? BLOCK_OK : BLOCK_DENIED;
	case GRANT_LATER:
		return BLOCK_LATER;
	case GRANT_NO:
		break;
	}
	return BLOCK_DENIED;
}

static struct block_slot *free_slot(struct blocks *blocks)
{
	for (size_t i = 0; i < BLOCKS_READING; i++) {
		if (!blocks->slots[i].busy) {
			return &blocks->slots[i];
		}
	}
	return NULL;
}

static void name_image(struct block_job *job, const struct deliver_release *release)
{
	const struct manifest *manifest = release->release->manifest;

	memcpy(job->sha256, manifest->sha256, sizeof(job->sha256));
	snprintf(job->version, sizeof(job->version), "%.63s", manifest->terms.version);
	job->size = manifest->size;
}

static bool submit(struct gate *gate, struct block_slot *slot)
{
	struct blocks *blocks = gate->blocks;

	if (gate->links.block_submit(gate->links.block_context, &slot->job) != OTA_OK) {
		return false;
	}
	slot->busy = true;
	blocks->reading++;
	blocks->reading_bytes += slot->job.length;
	return true;
}

/* Have the head's next block read.  False: not now. */
static bool start_one(struct gate *gate)
{
	struct blocks *blocks = gate->blocks;
	struct block_client *client = blocks->ready;
	struct block_want *want = &client->wants[client->first];
	const struct deliver_release *release = NULL;
	enum block_status status = still_granted(gate, client, want, &release);
	struct block_slot *slot;

	if (status == BLOCK_OK) {
		slot = free_slot(blocks);
		if (slot == NULL) {
			return false;
		}
		memset(slot, 0, sizeof(*slot));
		slot->payload = mosquitto_malloc(BLOCK_HEADER + (size_t)want->length + 1);
		if (slot->payload == NULL) {
			return false;
		}
		name_image(&slot->job, release);
		slot->job.offset = want->offset;
		slot->job.length = want->length;
		slot->job.data = slot->payload + BLOCK_HEADER;
		slot->job.data[want->length] = '\0';
		if (!submit(gate, slot)) {
			mosquitto_free(slot->payload);
			slot->payload = NULL;
			return false;
		}
		slot->client = client;
		slot->want = *want;
		client->reading++;
		blocks->tokens -= BLOCK_HEADER + (int64_t)want->length;
	} else {
		without(gate, client, want, status);
		properties_clear(&want->answer);
	}
	/* To the end of the row: one block a turn. */
	*want = (struct block_want){ 0 };
	client->first = (client->first + 1) % BLOCKS_OUTSTANDING;
	client->waiting--;
	blocks->waiting--;
	DL_DELETE2(blocks->ready, client, ready_prev, ready_next);
	if (client->waiting > 0) {
		DL_APPEND2(blocks->ready, client, ready_prev, ready_next);
	}
	return true;
}

static void finish(struct gate *gate, struct block_slot *slot)
{
	struct block_client *client = slot->client;
	const struct deliver_release *release = NULL;
	enum block_status status = slot->job.status;
	const struct block_header header = {
		.status = BLOCK_OK,
		.length = slot->job.length,
		.offset = (uint64_t)slot->job.offset,
	};

	gate->blocks->reading--;
	gate->blocks->reading_bytes -= slot->job.length;
	if (client == NULL) { /* gone, or a file was looked for */
		mosquitto_free(slot->payload);
		goto out;
	}
	client->reading--;
	if (status == BLOCK_OK) {
		status = still_granted(gate, client, &slot->want, &release);
	}
	if (status != BLOCK_OK) {
		mosquitto_free(slot->payload);
		without(gate, client, &slot->want, status);
		goto out;
	}
	block_header_write(&header, slot->payload);
	if (publish(gate, client->session, client->device, &slot->want.answer, slot->payload,
			BLOCK_HEADER + (size_t)slot->job.length)) {
		client->given += slot->job.length;
		gate->counters.blocks_sent++;
		gate->counters.block_bytes += slot->job.length;
	}
out:
	properties_clear(&slot->want.answer);
	slot->payload = NULL;
	slot->busy = false;
}

static void refill(struct gate *gate)
{
	struct blocks *blocks = gate->blocks;
	const int64_t now_us = gate->clock.mono_us();
	const int64_t wanted = gate->options->block_bytes_per_second;
	/* A bound, so that nothing below overflows. */
	const int64_t rate = wanted == 0 ? BLOCKS_UNLIMITED
		: wanted > BLOCKS_FASTEST    ? BLOCKS_FASTEST
									 : wanted;
	int64_t burst = rate / 4;
	int64_t passed_us = now_us - blocks->filled_us;
	int64_t bytes;

	burst = burst < BLOCKS_BURST_MIN ? BLOCKS_BURST_MIN : burst;
	burst = burst > BLOCKS_BURST_MAX ? BLOCKS_BURST_MAX : burst;
	if (blocks->filled_us == 0 || passed_us < 0) {
		blocks->tokens = burst;
		blocks->filled_us = now_us == 0 ? 1 : now_us;
		return;
	}
	passed_us = passed_us > FULL_AFTER_US ? FULL_AFTER_US : passed_us;
	bytes = passed_us * rate / 1000000;
	blocks->tokens += bytes;
	/* What is too short for another byte counts the next time: ticks may come with every message. */
	blocks->filled_us = now_us - (passed_us - (bytes * 1000000 + rate - 1) / rate);
	if (blocks->tokens > burst) {
		blocks->tokens = burst;
	}
}

void blocks_work(struct gate *gate)
{
	struct blocks *blocks = gate->blocks;
	struct block_job *job;

	while (
		blocks->reading > 0 && (job = gate->links.block_take(gate->links.block_context)) != NULL) {
		finish(gate, (struct block_slot *)(void *)job); /* its first member */
	}
	if (blocks->ready == NULL) {
		return;
	}
	refill(gate);
	/* Refusals take no bytes from the bucket, and after a halt there is nothing else. */
	for (int turns = 0; turns < BLOCKS_TURNS && blocks->ready != NULL && blocks->tokens > 0
		 && blocks->reading_bytes < BLOCKS_READING_BYTES && start_one(gate);
		 turns++) {
	}
}

void blocks_look_for(struct gate *gate, const struct deliver_release *release)
{
	struct blocks *blocks = gate->blocks;
	const size_t places = sizeof(blocks->looked) / sizeof(blocks->looked[0]);
	struct block_slot *slot;

	for (size_t i = 0; i < places; i++) {
		if (blocks->looked[i] == release->release_id) {
			return;
		}
	}
	slot = free_slot(blocks);
	if (slot == NULL) {
		return;
	}
	memset(slot, 0, sizeof(*slot));
	name_image(&slot->job, release);
	if (submit(gate, slot)) {
		blocks->looked[blocks->next_looked++ % places] = release->release_id;
	}
}
