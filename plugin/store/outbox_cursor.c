#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "outbox_internal.h"

struct outbox_segment *outbox_segment_at(const struct outbox *outbox, uint64_t index)
{
	return &outbox->segments[index % outbox->capacity];
}

static enum ota_err read_failed(const struct outbox *outbox, uint64_t first, struct ota_why *why)
{
	char name[OUTBOX_NAME_MAX];
	int code = errno;
	outbox_name(name, first);
	ota_why_set(why, "cannot read '%s/%s': %s", outbox->path, name, outbox_errno_text(code));
	return OTA_ERR_IO;
}

/* Makes the window begin at the cursor and hold `need` bytes, or all up to `end` when there are fewer.
 * NOT_FOUND: the file is gone. */
static enum ota_err window_fill(struct outbox *outbox, const struct outbox_cursor *cursor,
	uint64_t end, size_t need, const uint8_t **bytes, size_t *available, struct ota_why *why)
{
	struct outbox_window *window = &outbox->window;
	uint64_t first = outbox_segment_at(outbox, cursor->index)->first;
	if (window->fd < 0 || window->index != cursor->index) {
		char name[OUTBOX_NAME_MAX];
		if (window->fd >= 0)
			(void)close(window->fd);
		window->length = 0;
		window->index = cursor->index;
		outbox_name(name, first);
		window->fd = openat(outbox->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (window->fd < 0 && errno == ENOENT)
			return OTA_ERR_NOT_FOUND;
		if (window->fd < 0)
			return read_failed(outbox, first, why);
	}
	uint64_t left = end - cursor->offset;
	if (need > left)
		need = (size_t)left;
	bool inside = cursor->offset >= window->offset
		&& cursor->offset + need <= window->offset + window->length;
	if (!inside) {
		size_t want = left < OUTBOX_WINDOW_BYTES ? (size_t)left : OUTBOX_WINDOW_BYTES;
		window->offset = cursor->offset;
		window->length = 0;
		if (outbox_read_at(window->fd, cursor->offset, window->bytes, want, &window->length)
			!= OTA_OK)
			return read_failed(outbox, first, why);
	}
	*bytes = window->bytes + (cursor->offset - window->offset);
	*available = window->length - (size_t)(cursor->offset - window->offset);
	return OTA_OK;
}

/* One line for damage between cursor and `next`, once; nothing when no record was lost. */
static void report_damage(struct outbox *outbox, const struct outbox_cursor *cursor,
	const struct outbox_cursor *next, uint64_t last_lost)
{
	struct outbox_segment *segment = outbox_segment_at(outbox, cursor->index);
	segment->damaged = true;
	if (next->offset <= segment->reported || last_lost <= outbox->delivered)
		return;
	segment->reported = next->offset;
	char name[OUTBOX_NAME_MAX];
	uint64_t base = atomic_load(&outbox->base);
	uint64_t from = cursor->number > outbox->delivered ? cursor->number : outbox->delivered;
	outbox_name(name, segment->first);
	outbox_report(outbox,
		"'%s/%s' is damaged at byte %" PRIu64 ": %" PRIu64 " bytes skipped, events %" PRIu64
		" to %" PRIu64 " are lost; the file will be set aside when the rest of it is stored",
		outbox->path, name, cursor->offset, next->offset - cursor->offset, base + from + 1,
		base + last_lost);
}

/*
 * Moves the cursor over damage to the next whole record of its segment, or to the segment's end.
 * `last` is the highest number that can be in the segment.
 */
static enum ota_err skip_damage(struct outbox *outbox, struct outbox_cursor *cursor, uint64_t end,
	uint64_t last, struct ota_why *why)
{
	struct outbox_cursor next = *cursor;
	next.offset = end;
	next.number = last > cursor->number ? last : cursor->number;
	if (outbox->window.fd >= 0) {
		size_t length = (size_t)(end - cursor->offset);
		uint8_t *bytes = malloc(length);
		if (bytes == NULL) {
			ota_why_set(why, "out of memory for %zu bytes", length);
			return OTA_ERR_NOMEM;
		}
		if (outbox_read_at(outbox->window.fd, cursor->offset, bytes, length, &length) != OTA_OK) {
			free(bytes);
			return read_failed(outbox, outbox_segment_at(outbox, cursor->index)->first, why);
		}
		size_t at = outbox_record_search(bytes, length, cursor->number + 1, last);
		if (at < length) {
			struct outbox_record_header header;
			memcpy(&header, bytes + at, sizeof header);
			next.offset = cursor->offset + at;
			next.number = header.number - 1;
		}
		free(bytes);
	}
	next.bytes += next.offset - cursor->offset;
	report_damage(outbox, cursor, &next, next.number);
	*cursor = next;
	return OTA_OK;
}

/* Goes to the start of the next segment. */
static void next_segment(const struct outbox *outbox, struct outbox_cursor *cursor)
{
	cursor->index++;
	cursor->offset = sizeof(struct outbox_segment_header);
	uint64_t before = outbox_segment_at(outbox, cursor->index)->first - 1;
	if (cursor->number < before)
		cursor->number = before;
}

enum ota_err outbox_cursor_next(struct outbox *outbox, struct outbox_cursor *cursor,
	struct outbox_record_header *header, const uint8_t **data, struct ota_why *why)
{
	for (;;) {
		/* Head first: when a newer segment is there, the end of this one is final. */
		bool final = atomic_load(&outbox->head) > cursor->index + 1;
		uint64_t end = atomic_load(&outbox_segment_at(outbox, cursor->index)->end);
		if (cursor->offset >= end) {
			if (!final)
				return OTA_ERR_NOT_FOUND;
			next_segment(outbox, cursor);
			continue;
		}
		uint64_t last = final ? outbox_segment_at(outbox, cursor->index + 1)->first - 1
							  : atomic_load(&outbox->tail);
		const uint8_t *bytes = NULL;
		size_t available = 0;
		enum ota_err err = window_fill(outbox, cursor, end,
			sizeof(struct outbox_record_header) + OUTBOX_RECORD_MAX + OUTBOX_ALIGN, &bytes,
			&available, why);
		if (err != OTA_OK && err != OTA_ERR_NOT_FOUND)
			return err;
		if (err == OTA_OK
			&& outbox_record_check(bytes, available, cursor->number + 1, last, header)) {
			uint64_t size = outbox_record_bytes(header->size);
			*data = bytes + sizeof *header;
			cursor->offset += size;
			cursor->bytes += size;
			cursor->number = header->number;
			return OTA_OK;
		}
		err = skip_damage(outbox, cursor, end, last, why);
		if (err != OTA_OK)
			return err;
	}
}

enum ota_err outbox_cursor_skip(
	struct outbox *outbox, struct outbox_cursor *cursor, uint64_t number, struct ota_why *why)
{
	/* Whole segments first, without reading them. */
	while (atomic_load(&outbox->head) > cursor->index + 1
		&& outbox_segment_at(outbox, cursor->index + 1)->first - 1 <= number) {
		cursor->bytes +=
			atomic_load(&outbox_segment_at(outbox, cursor->index)->end) - cursor->offset;
		next_segment(outbox, cursor);
	}
	for (;;) {
		struct outbox_cursor ahead = *cursor;
		struct outbox_record_header header;
		const uint8_t *data;
		enum ota_err err = outbox_cursor_next(outbox, &ahead, &header, &data, why);
		if (err == OTA_ERR_NOT_FOUND)
			return OTA_OK;
		if (err != OTA_OK)
			return err;
		if (header.number > number)
			return OTA_OK;
		*cursor = ahead;
	}
}

/* Removes the segments that lie wholly before the committed place. */
static void trim(struct outbox *outbox)
{
	for (uint64_t i = atomic_load(&outbox->first); i < outbox->committed.index; i++) {
		const struct outbox_segment *segment = outbox_segment_at(outbox, i);
		char name[OUTBOX_NAME_MAX];
		struct ota_why why;
		if (segment->damaged) {
			if (outbox_set_aside(outbox, segment->first, name, &why) == OTA_OK)
				outbox_report(outbox, "the damaged file is kept as '%s/%s'", outbox->path, name);
			else
				outbox_report(outbox, "%s", why.text);
		} else {
			outbox_name(name, segment->first);
			if (unlinkat(outbox->directory, name, 0) != 0 && errno != ENOENT)
				outbox_report(outbox, "cannot remove '%s/%s': %s", outbox->path, name,
					outbox_errno_text(errno));
		}
		if (outbox->window.fd >= 0 && outbox->window.index == i) {
			(void)close(outbox->window.fd); /* gives the space back */
			outbox->window.fd = -1;
		}
		atomic_fetch_sub(&outbox->used_bytes, atomic_load(&segment->end));
		/* From here on the broker's thread may use the slot again. */
		atomic_store(&outbox->first, i + 1);
	}
}

enum ota_err outbox_commit_cursor(
	struct outbox *outbox, const struct outbox_cursor *cursor, bool durable, struct ota_why *why)
{
	struct outbox_cursor *committed = &outbox->committed;
	*committed = *cursor;
	while (atomic_load(&outbox->head) > committed->index + 1
		&& committed->offset >= atomic_load(&outbox_segment_at(outbox, committed->index)->end))
		next_segment(outbox, committed);
	const struct outbox_position position = { .committed = committed->number,
		.base = atomic_load(&outbox->base),
		.limit = outbox->limit,
		.joined = outbox->joined };
	/* Before a file goes, the position behind it is on the disk: a file that is missing at the next
	 * open was then never lost.  A failure does not keep the file: a full disk needs the room. */
	durable = durable || committed->index > atomic_load(&outbox->first);
	enum ota_err err = outbox_position_write(outbox, &position, durable, why);
	trim(outbox);
	if (outbox->reader.index < committed->index)
		outbox->reader = *committed; /* its segment is gone; it stood at that one's end */
	atomic_store(&outbox->committed_number, committed->number);
	atomic_store(&outbox->committed_bytes, committed->bytes);
	return err;
}
