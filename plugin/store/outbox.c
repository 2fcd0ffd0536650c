#include "ota/store/outbox.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "outbox_internal.h"

static enum ota_err check_options(
	const struct outbox_options *options, struct outbox *outbox, struct ota_why *why)
{
	if (options->directory == NULL || options->directory[0] == '\0') {
		ota_why_set(why, "the state directory is empty; a path is needed");
		return OTA_ERR_INVALID;
	}
	outbox->max_bytes = options->max_bytes != 0 ? options->max_bytes : OUTBOX_BYTES_DEFAULT;
	if (outbox->max_bytes < OUTBOX_BYTES_MIN || outbox->max_bytes > OUTBOX_BYTES_MAX) {
		ota_why_set(why, "outbox size %" PRIu64 " is not in %" PRIu64 " .. %" PRIu64 " bytes",
			outbox->max_bytes, OUTBOX_BYTES_MIN, OUTBOX_BYTES_MAX);
		return OTA_ERR_INVALID;
	}
	outbox->segment_bytes =
		options->segment_bytes != 0 ? options->segment_bytes : OUTBOX_SEGMENT_DEFAULT;
	if (outbox->segment_bytes < OUTBOX_SEGMENT_MIN || outbox->segment_bytes > OUTBOX_SEGMENT_MAX) {
		ota_why_set(why, "outbox segment size %" PRIu64 " is not in %d .. %d bytes",
			outbox->segment_bytes, OUTBOX_SEGMENT_MIN, OUTBOX_SEGMENT_MAX);
		return OTA_ERR_INVALID;
	}
	/* Only whole segments are removed: with at least four, a full log has one to give. */
	if (outbox->segment_bytes > outbox->max_bytes / 4)
		outbox->segment_bytes = outbox->max_bytes / 4;
	return OTA_OK;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

static void outbox_free(struct outbox *outbox)
{
	close_fd(outbox->window.fd);
	close_fd(outbox->fd);
	close_fd(outbox->position_fd);
	close_fd(outbox->wake);
	close_fd(outbox->lock);
	close_fd(outbox->directory);
	free(outbox->window.bytes);
	free(outbox->scratch);
	free(outbox->segments);
	free(outbox->records);
	free(outbox->after);
	free(outbox->data);
	free(outbox->path);
	free(outbox);
}

enum ota_err outbox_open(
	const struct outbox_options *options, struct outbox **outbox, struct ota_why *why)
{
	struct outbox *new = calloc(1, sizeof *new);
	if (new == NULL) {
		ota_why_set(why, "out of memory for the outbox");
		return OTA_ERR_NOMEM;
	}
	new->directory = new->lock = new->wake = new->position_fd = new->fd = new->window.fd = -1;
	new->report = options->report;
	new->report_context = options->report_context;
	enum ota_err err = check_options(options, new, why);
	if (err != OTA_OK)
		goto out;
	err = OTA_ERR_NOMEM;
	new->path = strdup(options->directory);
	new->window.bytes = malloc(OUTBOX_WINDOW_BYTES);
	new->scratch = malloc(OUTBOX_SCRATCH_BYTES);
	if (new->path == NULL || new->window.bytes == NULL || new->scratch == NULL) {
		ota_why_set(why, "out of memory for the outbox");
		goto out;
	}
	new->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (new->wake < 0) {
		ota_why_set(why, "cannot create an eventfd: %s", outbox_errno_text(errno));
		err = OTA_ERR_IO;
		goto out;
	}
	err = outbox_directory_open(new, why);
	if (err == OTA_OK)
		err = outbox_lock(new, why);
	if (err == OTA_OK)
		err = outbox_recover(new, why);
out:
	if (err != OTA_OK)
		outbox_free(new);
	else
		*outbox = new;
	return err;
}

void outbox_close(struct outbox *outbox)
{
	if (outbox == NULL)
		return;
	struct ota_why why;
	if (outbox_flush(outbox, &why) != OTA_OK)
		outbox_report(outbox, "%" PRIu64 " events were not written: %s", outbox->waiting, why.text);
	if (outbox_sync(outbox, &why) != OTA_OK)
		outbox_report(outbox, "%s", why.text);
	if (fdatasync(outbox->position_fd) != 0)
		outbox_report(
			outbox, "cannot sync '%s/outbox.position': %s", outbox->path, outbox_errno_text(errno));
	outbox_free(outbox);
}

/* Begins the segment that the next record opens. */
static enum ota_err rotate(struct outbox *outbox, struct ota_why *why)
{
	uint64_t head = atomic_load_explicit(&outbox->head, memory_order_relaxed);
	if (head - atomic_load(&outbox->first) == outbox->capacity) {
		ota_why_set(
			why, "the outbox '%s' is full: %" PRIu64 " segments", outbox->path, outbox->capacity);
		return OTA_ERR_FULL;
	}
	uint64_t number = atomic_load_explicit(&outbox->tail, memory_order_relaxed) + 1;
	int fd = -1;
	enum ota_err err = outbox_segment_create(outbox, number, &fd, why);
	if (err != OTA_OK)
		return err;
	close_fd(outbox->fd);
	outbox->fd = fd;
	struct outbox_segment *segment = outbox_segment_at(outbox, head);
	segment->first = number;
	segment->synced = 0;
	segment->reported = 0;
	segment->damaged = false;
	atomic_store(&segment->end, sizeof(struct outbox_segment_header));
	atomic_fetch_add(&outbox->used_bytes, sizeof(struct outbox_segment_header));
	atomic_store(&outbox->head, head + 1);
	return OTA_OK;
}

/* Writes the first `size` bytes of the scratch, all of them, or leaves the file as it was. */
static enum ota_err write_at(
	struct outbox *outbox, uint64_t offset, size_t size, struct ota_why *why)
{
	size_t done = 0;
	while (done < size) {
		ssize_t n = pwrite(outbox->fd, outbox->scratch + done, size - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (done == size)
		return OTA_OK;
	int code = errno;
	outbox->torn = done > 0 && ftruncate(outbox->fd, (off_t)offset) != 0;
	ota_why_set(why, "cannot write to the outbox '%s': %s", outbox->path, outbox_errno_text(code));
	return code == ENOSPC || code == EDQUOT || code == EFBIG ? OTA_ERR_FULL : OTA_ERR_IO;
}

/*
 * The disk is full, and everything in the log is committed: give back the room of the current segment, which is otherwise kept until
 * it is large enough.  Nobody reads it any more.  A crash in between leaves a log that ends before its committed number, which is
 * what outbox_recover() expects after a loss of power.
 */
static enum ota_err start_over(struct outbox *outbox, struct ota_why *why)
{
	const struct outbox_segment *segment =
		outbox_segment_at(outbox, atomic_load_explicit(&outbox->head, memory_order_relaxed) - 1);
	if (atomic_load(&segment->end) <= sizeof(struct outbox_segment_header)
		|| atomic_load(&outbox->committed_number)
			!= atomic_load_explicit(&outbox->tail, memory_order_relaxed))
		return OTA_ERR_FULL;
	if (ftruncate(outbox->fd, sizeof(struct outbox_segment_header)) != 0)
		return OTA_ERR_FULL;
	outbox->torn = false;
	/* Whatever comes of it, this file is not continued. */
	close_fd(outbox->fd);
	outbox->fd = -1;
	return rotate(outbox, why);
}

/* May a record of this size follow what waits?  *number: its number. */
static enum ota_err admit(
	const struct outbox *outbox, size_t size, uint64_t *number, struct ota_why *why)
{
	if (size < 1 || size > OUTBOX_RECORD_MAX) {
		ota_why_set(
			why, "outbox record of %zu bytes; 1 .. %d are accepted", size, OUTBOX_RECORD_MAX);
		return OTA_ERR_INVALID;
	}
	*number = atomic_load_explicit(&outbox->tail, memory_order_relaxed) + outbox->waiting + 1;
	if (*number > OUTBOX_NUMBER_MAX
		|| *number + atomic_load_explicit(&outbox->base, memory_order_relaxed) > INT64_MAX) {
		ota_why_set(why, "the sequence numbers of the outbox '%s' are used up", outbox->path);
		return OTA_ERR_STATE;
	}
	uint64_t used = atomic_load_explicit(&outbox->used_bytes, memory_order_relaxed);
	if (used + outbox->waiting_bytes + outbox_record_bytes(size)
			+ sizeof(struct outbox_segment_header)
		> outbox->max_bytes) {
		ota_why_set(why, "the outbox '%s' is full: %" PRIu64 " of %" PRIu64 " bytes", outbox->path,
			used, outbox->max_bytes);
		return OTA_ERR_FULL;
	}
	return OTA_OK;
}

/* Writes `records` records, the first `bytes` bytes of the scratch, and shows them to the reader: all, or none on an error. */
static enum ota_err write_records(
	struct outbox *outbox, uint64_t records, size_t bytes, struct ota_why *why)
{
	struct outbox_segment *segment =
		outbox_segment_at(outbox, atomic_load_explicit(&outbox->head, memory_order_relaxed) - 1);
	uint64_t end = atomic_load_explicit(&segment->end, memory_order_relaxed);
	if (outbox->torn && ftruncate(outbox->fd, (off_t)end) != 0) {
		ota_why_set(
			why, "cannot write to the outbox '%s': %s", outbox->path, outbox_errno_text(errno));
		return OTA_ERR_IO;
	}
	outbox->torn = false;
	if (outbox->fd < 0 || end + bytes > outbox->segment_bytes) {
		enum ota_err err = rotate(outbox, why);
		if (err != OTA_OK)
			return err;
		segment = outbox_segment_at(
			outbox, atomic_load_explicit(&outbox->head, memory_order_relaxed) - 1);
		end = sizeof(struct outbox_segment_header);
	}
	enum ota_err err = write_at(outbox, end, bytes, why);
	if (err == OTA_ERR_FULL && start_over(outbox, why) == OTA_OK) {
		segment = outbox_segment_at(
			outbox, atomic_load_explicit(&outbox->head, memory_order_relaxed) - 1);
		end = sizeof(struct outbox_segment_header);
		err = write_at(outbox, end, bytes, why);
	}
	if (err != OTA_OK)
		return err;
	outbox->waiting = 0;
	outbox->waiting_bytes = 0;
	/* The reader goes by `end`: what it needs to judge the records must be there before. */
	atomic_store_explicit(&outbox->tail,
		atomic_load_explicit(&outbox->tail, memory_order_relaxed) + records, memory_order_release);
	atomic_fetch_add_explicit(&outbox->used_bytes, bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&outbox->appended_bytes, bytes, memory_order_relaxed);
	atomic_store(&segment->end, end + bytes);
	/* Sequentially consistent with outbox_idle(): either we see the flag or it sees the records. */
	if (atomic_load(&outbox->idle) && atomic_exchange(&outbox->idle, false)) {
		const uint64_t one = 1;
		if (write(outbox->wake, &one, sizeof one) < 0 && errno != EAGAIN)
			atomic_store(&outbox->idle, true); /* the next append tries again */
	}
	return OTA_OK;
}

enum ota_err outbox_append(
	struct outbox *outbox, const void *data, size_t size, uint64_t *sequence, struct ota_why *why)
{
	uint64_t number;
	enum ota_err err = admit(outbox, size, &number, why);
	if (err != OTA_OK)
		return err;
	/* Together no more than one record may have: as much may be torn. */
	if (outbox->waiting > 0
		&& outbox->waiting_bytes + outbox_record_bytes(size) > OUTBOX_RECORD_MAX)
		err = outbox_flush(outbox, why);
	if (err != OTA_OK)
		return err;
	size_t bytes =
		outbox_record_encode(outbox->scratch + outbox->waiting_bytes, number, data, size);
	err = write_records(outbox, outbox->waiting + 1, outbox->waiting_bytes + bytes, why);
	if (err == OTA_OK && sequence != NULL)
		*sequence = number + atomic_load_explicit(&outbox->base, memory_order_relaxed);
	return err;
}

enum ota_err outbox_gather(
	struct outbox *outbox, const void *data, size_t size, struct ota_why *why)
{
	uint64_t number;
	enum ota_err err = admit(outbox, size, &number, why);
	if (err == OTA_OK && outbox->waiting_bytes + outbox_record_bytes(size) > OUTBOX_GATHER_BYTES)
		err = outbox_flush(outbox, why);
	if (err != OTA_OK)
		return err;
	if (outbox_record_bytes(size) > OUTBOX_GATHER_BYTES)
		return outbox_append(outbox, data, size, NULL, why);
	outbox->waiting_bytes +=
		outbox_record_encode(outbox->scratch + outbox->waiting_bytes, number, data, size);
	outbox->waiting++;
	return OTA_OK;
}

enum ota_err outbox_flush(struct outbox *outbox, struct ota_why *why)
{
	return outbox->waiting == 0
		? OTA_OK
		: write_records(outbox, outbox->waiting, outbox->waiting_bytes, why);
}

int outbox_wake_fd(const struct outbox *outbox)
{
	return outbox->wake;
}

size_t outbox_descriptors(const struct outbox *outbox, int descriptors[OUTBOX_DESCRIPTORS])
{
	descriptors[0] = outbox->directory;
	descriptors[1] = outbox->lock;
	descriptors[2] = outbox->wake;
	descriptors[3] = outbox->position_fd;
	return OUTBOX_DESCRIPTORS;
}

void outbox_reader_end(struct outbox *outbox)
{
	close_fd(outbox->window.fd);
	outbox->window.fd = -1;
}

bool outbox_idle(struct outbox *outbox)
{
	uint64_t count;
	(void)!read(outbox->wake, &count, sizeof count); /* EAGAIN: it was not set */
	atomic_store(&outbox->idle, true);
	uint64_t head = atomic_load(&outbox->head);
	const struct outbox_segment *segment = outbox_segment_at(outbox, outbox->reader.index);
	if (head == outbox->reader.index + 1 && atomic_load(&segment->end) <= outbox->reader.offset)
		return true;
	atomic_store(&outbox->idle, false);
	return false;
}

uint64_t outbox_pending_records(const struct outbox *outbox)
{
	uint64_t committed = atomic_load(&outbox->committed_number);
	uint64_t tail = atomic_load(&outbox->tail);
	return tail > committed ? tail - committed : 0;
}

uint64_t outbox_pending_bytes(const struct outbox *outbox)
{
	uint64_t committed = atomic_load(&outbox->committed_bytes);
	uint64_t appended = atomic_load(&outbox->appended_bytes);
	return appended > committed ? appended - committed : 0;
}
