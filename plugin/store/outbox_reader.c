#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "outbox_internal.h"

static enum ota_err no_memory(size_t bytes, struct ota_why *why)
{
	ota_why_set(why, "out of memory for a batch of %zu bytes", bytes);
	return OTA_ERR_NOMEM;
}

/* Makes room for a batch of these limits; the memory is kept for the next one. */
static enum ota_err reserve_batch(
	struct outbox *outbox, size_t records, size_t bytes, struct ota_why *why)
{
	if (records > outbox->records_capacity) {
		struct outbox_record *more = realloc(outbox->records, records * sizeof *more);
		if (more == NULL)
			return no_memory(records * sizeof *more, why);
		outbox->records = more;
		struct outbox_cursor *after = realloc(outbox->after, records * sizeof *after);
		if (after == NULL)
			return no_memory(records * sizeof *after, why);
		outbox->after = after;
		outbox->records_capacity = records;
	}
	if (bytes > outbox->data_capacity) {
		uint8_t *more = realloc(outbox->data, bytes);
		if (more == NULL)
			return no_memory(bytes, why);
		outbox->data = more;
		outbox->data_capacity = bytes;
	}
	return OTA_OK;
}

enum ota_err outbox_read(struct outbox *outbox, struct outbox_batch *batch, size_t max_records,
	size_t max_bytes, struct ota_why *why)
{
	if (!outbox->joined) {
		ota_why_set(why, "the outbox does not know the last sequence of the database yet");
		return OTA_ERR_STATE;
	}
	if (max_records < 1 || max_records > OUTBOX_BATCH_RECORDS_MAX || max_bytes < 1
		|| max_bytes > OUTBOX_BATCH_BYTES_MAX) {
		ota_why_set(why, "batch of %zu records and %zu bytes; 1 .. %d and 1 .. %d are accepted",
			max_records, max_bytes, OUTBOX_BATCH_RECORDS_MAX, OUTBOX_BATCH_BYTES_MAX);
		return OTA_ERR_INVALID;
	}
	outbox->records_count = 0;
	/* The first record is given whatever its size. */
	size_t room = max_bytes > OUTBOX_RECORD_MAX ? max_bytes : OUTBOX_RECORD_MAX;
	enum ota_err err = reserve_batch(outbox, max_records, room, why);
	if (err != OTA_OK)
		return err;
	uint64_t base = atomic_load(&outbox->base);
	struct outbox_cursor cursor = outbox->reader;
	size_t count = 0;
	size_t used = 0;
	while (count < max_records) {
		struct outbox_cursor ahead = cursor;
		struct outbox_record_header header;
		const uint8_t *data;
		err = outbox_cursor_next(outbox, &ahead, &header, &data, why);
		if (err == OTA_ERR_NOT_FOUND) {
			cursor = ahead; /* over damage at the end, and into the next segment */
			break;
		}
		if (err != OTA_OK && count > 0)
			break; /* the records before are good; the next read meets the error again */
		if (err != OTA_OK)
			return err;
		if (count > 0 && used + header.size > max_bytes)
			break;
		memcpy(outbox->data + used, data, header.size);
		outbox->records[count] = (struct outbox_record){
			.sequence = base + header.number, .data = outbox->data + used, .size = header.size
		};
		outbox->after[count++] = ahead;
		used += header.size;
		cursor = ahead;
	}
	outbox->records_count = count;
	outbox->reader = cursor;
	if (count > 0 && outbox->handed < outbox->after[count - 1].number)
		outbox->handed = outbox->after[count - 1].number;
	/* Nothing is waiting for a commit, so damage at the end need not wait for one either. */
	if (count == 0 && outbox->handed <= outbox->committed.number
		&& cursor.bytes != outbox->committed.bytes) {
		err = outbox_commit_cursor(outbox, &cursor, false, why);
		if (err != OTA_OK)
			return err;
	}
	*batch = (struct outbox_batch){ .records = outbox->records, .count = count };
	return OTA_OK;
}

enum ota_err outbox_commit(struct outbox *outbox, uint64_t sequence, struct ota_why *why)
{
	uint64_t base = atomic_load(&outbox->base);
	if (sequence <= base + outbox->committed.number)
		return OTA_OK;
	uint64_t number = sequence - base;
	if (number > outbox->reader.number || number > outbox->handed) {
		ota_why_set(why, "sequence %" PRIu64 " was not read yet; the last one is %" PRIu64,
			sequence, base + outbox->handed);
		return OTA_ERR_INVALID;
	}
	struct outbox_cursor cursor = outbox->committed;
	size_t count = outbox->records_count;
	if (count > 0 && outbox->after[count - 1].number == number) {
		cursor = outbox->after[count - 1]; /* the usual case */
	} else {
		enum ota_err err = outbox_cursor_skip(outbox, &cursor, number, why);
		if (err != OTA_OK)
			return err;
	}
	return outbox_commit_cursor(outbox, &cursor, false, why);
}

enum ota_err outbox_peek(struct outbox *outbox,
	void (*see)(void *context, const uint8_t *data, size_t size), void *context,
	struct ota_why *why)
{
	struct outbox_cursor cursor = outbox->committed;
	for (;;) {
		struct outbox_record_header header;
		const uint8_t *data;
		enum ota_err err = outbox_cursor_next(outbox, &cursor, &header, &data, why);
		if (err == OTA_ERR_NOT_FOUND)
			return OTA_OK;
		if (err != OTA_OK)
			return err;
		see(context, data, header.size);
	}
}

void outbox_rewind(struct outbox *outbox)
{
	outbox->reader = outbox->committed;
	outbox->records_count = 0;
}

enum ota_err outbox_skip_to(struct outbox *outbox, uint64_t sequence, struct ota_why *why)
{
	if (sequence > (uint64_t)INT64_MAX) {
		ota_why_set(
			why, "sequence %" PRIu64 " of the database is above %" PRId64, sequence, INT64_MAX);
		return OTA_ERR_INVALID;
	}
	const uint64_t base = atomic_load(&outbox->base);
	const uint64_t committed = outbox->committed.number;
	const bool joined = outbox->joined;
	const uint64_t known = outbox->delivered;
	/* Only these can be in the database; what follows is new, whatever its number. */
	const uint64_t limit = joined ? outbox->handed : outbox->limit;
	uint64_t target = sequence > base ? sequence - base : 0;
	uint64_t raise = target > limit ? target - limit : 0;
	target -= raise;
	struct outbox_cursor cursor = outbox->committed;
	enum ota_err err = OTA_OK;
	if (target > outbox->delivered)
		outbox->delivered = target;
	if (target > committed)
		err = outbox_cursor_skip(outbox, &cursor, target, why);
	if (err != OTA_OK) {
		outbox->delivered = known;
		return err;
	}
	outbox->joined = true;
	outbox->limit = limit;
	atomic_store(&outbox->base, base + raise);
	err = outbox_commit_cursor(outbox, &cursor, true, why);
	if (err != OTA_OK) { /* not written down: a restart would number differently */
		outbox->joined = joined;
		atomic_store(&outbox->base, base);
		outbox_rewind(outbox);
		return err;
	}
	outbox_rewind(outbox);
	if (outbox->handed < outbox->committed.number)
		outbox->handed = outbox->committed.number;
	if (raise > 0)
		outbox_report(outbox,
			"the database has events up to %" PRIu64 ", '%s' only up to %" PRIu64
			": what waits here is numbered from %" PRIu64 " on",
			sequence, outbox->path, base + limit, sequence + 1);
	else if (sequence < base + committed)
		outbox_report(outbox,
			"the database has events up to %" PRIu64 ", but they were stored up to %" PRIu64
			" and are removed from '%s': was it restored from a backup?",
			sequence, base + committed, outbox->path);
	return OTA_OK;
}

static enum ota_err sync_segment(
	const struct outbox *outbox, const struct outbox_segment *segment, struct ota_why *why)
{
	char name[OUTBOX_NAME_MAX];
	outbox_name(name, segment->first);
	int fd = openat(outbox->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fdatasync(fd) != 0) {
		ota_why_set(why, "cannot sync '%s/%s': %s", outbox->path, name, outbox_errno_text(errno));
		if (fd >= 0)
			(void)close(fd);
		return OTA_ERR_IO;
	}
	(void)close(fd);
	return OTA_OK;
}

enum ota_err outbox_sync(struct outbox *outbox, struct ota_why *why)
{
	uint64_t head = atomic_load(&outbox->head);
	uint64_t index = atomic_load(&outbox->first);
	bool created = false;
	if (index < outbox->synced_index)
		index = outbox->synced_index;
	for (; index < head; index++) {
		struct outbox_segment *segment = outbox_segment_at(outbox, index);
		uint64_t end = atomic_load(&segment->end);
		if (segment->synced < end) {
			enum ota_err err = sync_segment(outbox, segment, why);
			if (err != OTA_OK)
				return err;
			created = created || segment->synced == 0;
			segment->synced = end;
		}
		outbox->synced_index = index; /* the last one may grow; the others are final */
	}
	if (created && fsync(outbox->directory) != 0) {
		ota_why_set(why, "cannot sync '%s': %s", outbox->path, outbox_errno_text(errno));
		return OTA_ERR_IO;
	}
	return OTA_OK;
}
