/* What waits in the outbox goes into the tables, a batch at a time; see store_internal.h. */
#include <stdlib.h>

#include "ota/base/clock.h"

#include "store_internal.h"

enum {
	/* Of few records, so that a command waits little; of more (STORE_BATCH_RECORDS) when so many wait that it makes no difference. */
	BATCH_RECORDS = 4000,
	/* Of what waits.  With a larger part a storm of connections, which is gathered, would leave the buffers of its batches behind. */
	BATCH_PART = 16,
	BATCH_BYTES = 8 << 20,
	GATHER_PART = 8, /* of the outbox: with so much in it nothing waits for more */
};

static void answered(void *context, const char *device)
{
	struct store *store = context;

	warm_claim_over(store->warm, device);
}

static enum ota_err fold_range(struct store *store, const struct event *events, size_t count,
	uint64_t sequence, struct ota_why *why)
{
	struct fold_result done;
	enum ota_err err = fold_events(store->fold, &store->pg, events, count, sequence, &done, why);

	if (!err) {
		/* That all is as it was is nothing to act on; who joins a rollout by saying so is told of by the database. */
		store->eager = store->eager || done.news;
		/* Before the reports leave the outbox: between the two they say at every moment who has answered. */
		fold_each_answered(store->fold, answered, store);
		warm_flush(store->warm);
		err = outbox_commit(store->outbox, sequence, why);
	}
	return err;
}

/* This event cannot be stored: say so, here and in the audit log, and go on behind it. */
static enum ota_err leave_out(
	struct store *store, const struct event *event, uint64_t sequence, struct ota_why *why)
{
	const struct event instead = { .kind = EVENT_MALFORMED,
		.at_ms = event->at_ms,
		.device = event->device,
		.client = event->client,
		.fleet = "",
		.topic = event->topic,
		.version = "",
		.hardware = "",
		.error = "",
		.json = "",
		.text = why->text };
	struct ota_why ignored = { "" };
	enum ota_err err;

	logring_printf(store->log, LOG_LEVEL_ERROR,
		"a %s event of device \"%s\" cannot be stored and is left out: %s",
		event_kind_name(event->kind), event->device, why->text);
	err = fold_range(store, &instead, 1, sequence, &ignored);
	if (err == OTA_ERR_INVALID) {
		return fold_range(store, event, 0, sequence, why);
	}
	*why = ignored;
	return err;
}

/* Some event of these cannot be stored: find it by halves, store the others, leave it out. */
static enum ota_err fold_around(struct store *store, const struct outbox_batch *batch, size_t from,
	size_t count, struct ota_why *why)
{
	uint64_t sequence = batch->records[from + count - 1].sequence;
	enum ota_err err = fold_range(store, store->events + from, count, sequence, why);

	if (err != OTA_ERR_INVALID) {
		return err;
	}
	if (count > 1) {
		err = fold_around(store, batch, from, count / 2, why);
		return err ? err : fold_around(store, batch, from + count / 2, count - count / 2, why);
	}
	return leave_out(store, &store->events[from], sequence, why);
}

/* How many records the next batch has at most: the more there are, the fewer times the same device's row is written. */
static size_t batch_records(const struct store *store)
{
	const uint64_t part = outbox_pending_records(store->outbox) / BATCH_PART;

	return part < BATCH_RECORDS      ? BATCH_RECORDS
		: part > STORE_BATCH_RECORDS ? STORE_BATCH_RECORDS
									 : (size_t)part;
}

int64_t store_behind_ms(const struct store *store)
{
	return written_behind_ms(&store->written, clock_mono_ms());
}

int64_t store_gather_ms(struct store *store)
{
	if (outbox_pending_bytes(store->outbox)
		>= (uint64_t)store->options->outbox_max_bytes / GATHER_PART) {
		gather_reset(&store->gather);
	}
	return gather_wait_ms(&store->gather, clock_mono_ms(), outbox_pending_records(store->outbox));
}

/* Who is there and who listens: what a fleet says that comes back all at once, or is cut off. */
static bool is_presence(enum event_kind kind)
{
	return kind == EVENT_CONNECTED || kind == EVENT_LISTENING || kind == EVENT_DISCONNECTED;
}

enum ota_err store_write_batch(struct store *store, bool *drained, struct ota_why *why)
{
	struct outbox_batch batch = { 0 };
	const int64_t now_ms = clock_mono_ms();
	uint64_t presence = 0;
	enum ota_err err;

	written_begin(&store->written, now_ms, outbox_pending_records(store->outbox));
	*drained = false;
	err = outbox_read(store->outbox, &batch, batch_records(store), BATCH_BYTES, why);
	if (err) {
		return err;
	}
	if (batch.count == 0) {
		*drained = true;
		written_all(&store->written, now_ms);
		return OTA_OK;
	}
	for (size_t i = 0; i < batch.count; i++) {
		if (event_decode(batch.records[i].data, batch.records[i].size, &store->events[i])) {
			static const struct event unreadable = { .kind = EVENT_MALFORMED,
				.device = "",
				.client = "",
				.fleet = "",
				.topic = "",
				.version = "",
				.hardware = "",
				.error = "",
				.json = "",
				.text = "unreadable record in the outbox" };

			store->events[i] = unreadable;
			store->events[i].at_ms = clock_wall_ms();
		}
		presence += is_presence(store->events[i].kind) ? 1 : 0;
	}
	err = fold_around(store, &batch, 0, batch.count, why);
	if (!err) {
		written_add(&store->written, batch.count);
		gather_wrote(&store->gather, now_ms, clock_mono_ms(), batch.count, presence,
			outbox_pending_records(store->outbox));
	}
	return err;
}
