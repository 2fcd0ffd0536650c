/* The file of the warm start: read whole at the start, appended to, written anew. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ota/base/clock.h"

#include "outbox_internal.h"
#include "warm_internal.h"

/*
 * The file: magic (8 bytes) | u32 version | u32 checksum of these 12 bytes, then frames: u32 size | u32 checksum | record.  A checksum
 * continues the one before it, so that no frame can be missing from the middle, doubled or moved.  Numbers are in the host's byte order; the
 * directory is local to one machine.
 */
static const char file_name[] = "warm.state";
static const char new_name[] = "warm.state.new";
static const char magic[8] = { 'O', 'T', 'A', 'W', 'A', 'R', 'M', 'S' };

enum {
	VERSION = 1,
	SLACK_BYTES = 1 << 20, /* a file this much larger than twice what counts is written anew */
	RETRY_MS = 10000,
	NAME_MAX_BYTES = 96,
};

static void header_make(uint8_t header[WARM_HEADER_BYTES], uint32_t *chain)
{
	const uint32_t version = VERSION;

	memcpy(header, magic, sizeof(magic));
	memcpy(header + 8, &version, sizeof(version));
	*chain = outbox_crc(0, header, 12);
	memcpy(header + 12, chain, sizeof(*chain));
}

static uint32_t frame_chain(uint32_t chain, const uint8_t *payload, uint32_t size)
{
	chain = outbox_crc(chain, &size, sizeof(size));
	return outbox_crc(chain, payload, size);
}

enum ota_err warm_image_read(const uint8_t *bytes, size_t length,
	bool (*take)(
		void *context, const struct warm_record *record, const uint8_t *payload, size_t size),
	void *context, uint32_t *chain, struct ota_why *why)
{
	uint8_t header[WARM_HEADER_BYTES];
	size_t at = WARM_HEADER_BYTES;

	header_make(header, chain);
	if (length < sizeof(header) || memcmp(bytes, header, sizeof(magic)) != 0) {
		ota_why_set(why, "it is not a file of the warm start");
		return OTA_ERR_INVALID;
	}
	if (memcmp(bytes, header, sizeof(header)) != 0) {
		ota_why_set(why, "it has an unknown version, or its header is damaged");
		return OTA_ERR_INVALID;
	}
	while (at < length) {
		struct warm_record record;
		uint32_t size = 0;
		uint32_t checksum = 0;

		if (length - at >= WARM_FRAME_BYTES) {
			memcpy(&size, bytes + at, sizeof(size));
			memcpy(&checksum, bytes + at + sizeof(size), sizeof(checksum));
		}
		if (size < 1 || size > WARM_RECORD_MAX || size > length - at - WARM_FRAME_BYTES
			|| frame_chain(*chain, bytes + at + WARM_FRAME_BYTES, size) != checksum
			|| warm_decode(bytes + at + WARM_FRAME_BYTES, size, &record)) {
			ota_why_set(why, "it is damaged at byte %zu of %zu", at, length);
			return OTA_ERR_INVALID;
		}
		*chain = checksum;
		if (!take(context, &record, bytes + at + WARM_FRAME_BYTES, size)) {
			ota_why_set(why, "out of memory");
			return OTA_ERR_NOMEM;
		}
		at += WARM_FRAME_BYTES + size;
	}
	return OTA_OK;
}

bool warm_file_frame(struct warm *warm, const uint8_t *payload, uint32_t size)
{
	size_t need = warm->pending_bytes + WARM_FRAME_BYTES + size;
	uint8_t *at;

	if (warm->fd < 0) { /* all will be written */
		return true;
	}
	if (need > warm->pending_capacity) {
		size_t capacity = need + need / 2;
		uint8_t *more = realloc(warm->pending, capacity);

		if (!more) {
			return false;
		}
		warm->pending = more;
		warm->pending_capacity = capacity;
	}
	at = warm->pending + warm->pending_bytes;
	warm->chain = frame_chain(warm->chain, payload, size);
	memcpy(at, &size, sizeof(size));
	memcpy(at + sizeof(size), &warm->chain, sizeof(warm->chain));
	memcpy(at + WARM_FRAME_BYTES, payload, size);
	warm->pending_bytes = need;
	return true;
}

static bool write_all(int fd, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, bytes, size);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			errno = n == 0 ? ENOSPC : errno;
			return false;
		}
		bytes += n;
		size -= (size_t)n;
	}
	return true;
}

static void close_file(struct warm *warm)
{
	if (warm->fd >= 0) {
		(void)close(warm->fd);
	}
	warm->fd = -1;
	warm->pending_bytes = 0;
	warm->file_bytes = 0;
	warm->dirty = false;
}

void warm_file_drop(struct warm *warm)
{
	close_file(warm);
	if (warm->directory >= 0) {
		(void)unlinkat(warm->directory, file_name, 0);
		(void)unlinkat(warm->directory, new_name, 0);
	}
}

/* What is there no longer says what counts: away with it, and say so once. */
static void fail(struct warm *warm, const char *what, int code)
{
	warm_file_drop(warm);
	if (!warm->failing) {
		logring_printf(warm->log, LOG_LEVEL_ERROR,
			"cannot %s '%s/%s': %s; until it can be written, a restart waits for the database",
			what, warm->path, file_name, outbox_errno_text(code));
	}
	warm->failing = true;
	warm->retry_at = clock_mono_ms() + RETRY_MS;
}

/* A new file with all facts, which then takes the old one's name; -1: errno says why. */
static int write_new(struct warm *warm, uint64_t *bytes)
{
	struct warm_entry *entry;
	struct warm_entry *next;
	uint8_t header[WARM_HEADER_BYTES];
	int fd;

	header_make(header, &warm->chain);
	warm->pending_bytes = 0;
	*bytes = sizeof(header);
	fd = openat(warm->directory, new_name,
		O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || !write_all(fd, header, sizeof(header))) {
		goto fail;
	}
	warm->fd = fd; /* so that frames are made */
	HASH_ITER(hh, warm->entries, entry, next) {
		if (!warm_file_frame(warm, entry->payload, entry->size)) {
			errno = ENOMEM;
			goto fail;
		}
		*bytes += WARM_FRAME_BYTES + entry->size;
		if (warm->pending_bytes >= SLACK_BYTES || !next) {
			if (!write_all(fd, warm->pending, warm->pending_bytes)) {
				goto fail;
			}
			warm->pending_bytes = 0;
		}
	}
	if (fsync(fd) != 0 || renameat(warm->directory, new_name, warm->directory, file_name) != 0
		|| fsync(warm->directory) != 0) {
		goto fail;
	}
	return fd;
fail:
	if (fd >= 0) {
		int code = errno;

		(void)close(fd);
		errno = code;
	}
	warm->fd = -1;
	return -1;
}

void warm_file_write(struct warm *warm)
{
	uint64_t limit = 2 * warm->live_bytes + SLACK_BYTES;
	uint64_t bytes = 0;
	int fd;

	if (warm->directory < 0 || (warm->failing && clock_mono_ms() < warm->retry_at)) {
		warm->pending_bytes = 0;
		return;
	}
	if (warm->fd >= 0 && !warm->failing && warm->file_bytes + warm->pending_bytes <= limit) {
		if (!write_all(warm->fd, warm->pending, warm->pending_bytes)) {
			fail(warm, "write", errno);
			return;
		}
		warm->file_bytes += warm->pending_bytes;
		warm->pending_bytes = 0;
		warm->dirty = true;
		return;
	}
	close_file(warm);
	fd = write_new(warm, &bytes);
	if (fd < 0) {
		fail(warm, "write", errno);
		return;
	}
	warm->fd = fd;
	warm->file_bytes = bytes;
	if (warm->failing) {
		logring_printf(
			warm->log, LOG_LEVEL_NOTICE, "'%s/%s' is written again", warm->path, file_name);
	}
	warm->failing = false;
}

void warm_file_set_aside(struct warm *warm, const char *reason)
{
	char name[NAME_MAX_BYTES];
	struct timespec now;
	struct tm utc;
	char stamp[20];
	int length;

	close_file(warm);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (!gmtime_r(&now.tv_sec, &utc)
		|| strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc) == 0) {
		stamp[0] = '\0';
	}
	length = snprintf(name, sizeof(name), "%s.damaged-%s", file_name, stamp);
	/* The outbox holds the lock of the directory: nobody else makes such a name between look and rename. */
	for (int i = 1; i < 100 && faccessat(warm->directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
		 i++) {
		(void)snprintf(name + length, sizeof(name) - (size_t)length, "-%d", i);
	}
	if (renameat(warm->directory, file_name, warm->directory, name) != 0) {
		fail(warm, "rename", errno);
		return;
	}
	logring_printf(warm->log, LOG_LEVEL_WARNING,
		"'%s/%s' is set aside as '%s': %s; while the database is away nobody is told", warm->path,
		file_name, name, reason);
}

/* The whole file in memory; NULL: errno says why, 0 when there is none. */
static uint8_t *read_whole(struct warm *warm, size_t *length, struct ota_why *why)
{
	struct stat status;
	uint8_t *bytes;

	warm->fd = openat(warm->directory, file_name, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (warm->fd < 0) {
		if (errno != ENOENT) {
			ota_why_set(why, "it cannot be opened: %s", outbox_errno_text(errno));
		}
		return NULL;
	}
	if (fstat(warm->fd, &status) != 0 || !S_ISREG(status.st_mode)
		|| status.st_size > WARM_FILE_MAX) {
		ota_why_set(why, "it is no file of at most %d bytes", WARM_FILE_MAX);
		return NULL;
	}
	bytes = malloc((size_t)status.st_size + 1);
	if (!bytes || outbox_read_at(warm->fd, 0, bytes, (size_t)status.st_size, length)) {
		ota_why_set(why, "it cannot be read: %s", outbox_errno_text(bytes ? errno : ENOMEM));
		free(bytes);
		return NULL;
	}
	return bytes;
}

void warm_file_read(struct warm *warm,
	bool (*take)(
		void *context, const struct warm_record *record, const uint8_t *payload, size_t size))
{
	struct ota_why why = { "" };
	size_t length = 0;
	uint8_t *bytes;

	warm->directory = open(warm->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (warm->directory < 0) {
		fail(warm, "open", errno);
		return;
	}
	(void)unlinkat(warm->directory, new_name, 0);
	bytes = read_whole(warm, &length, &why);
	if (bytes && !warm_image_read(bytes, length, take, warm, &warm->chain, &why)) {
		warm->file_bytes = length;
		free(bytes);
		return;
	}
	free(bytes);
	if (why.text[0]) {
		warm_file_set_aside(warm, why.text);
	}
	close_file(warm);
}
