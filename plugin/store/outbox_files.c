#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "outbox_internal.h"

static const char lock_name[] = "outbox.lock";
static const char position_name[] = "outbox.position";
static const char position_magic[8] = { 'O', 'T', 'A', 'O', 'U', 'T', 'P', 'O' };

enum {
	POSITION_SLOTS = 2,            /* written in turn: one of them is always whole */
	POSITION_SLOT_DISTANCE = 4096, /* a torn write of one does not reach the other */
};

struct position_slot { /* on disk */
	char magic[8];
	uint32_t version;
	uint32_t joined;
	uint64_t generation; /* the higher one counts */
	uint64_t committed, base, limit;
	uint32_t reserved;
	uint32_t crc;
};

_Static_assert(sizeof(struct position_slot) == 56, "the slot has no padding");

const char *outbox_errno_text(int code)
{
	return strerror_l(code, uselocale((locale_t)0));
}

void outbox_report(const struct outbox *outbox, const char *format, ...)
{
	if (outbox->report == NULL)
		return;
	char line[512];
	va_list arguments;
	va_start(arguments, format);
	(void)vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	outbox->report(outbox->report_context, line);
}

/* mkdir -p with mode 0700 for what is new; changes `path` for the time of the call only. */
static int make_directories(char *path)
{
	for (char *slash = path + 1; *slash != '\0'; slash++) {
		if (*slash != '/')
			continue;
		*slash = '\0';
		int rc = mkdir(path, 0700);
		*slash = '/';
		if (rc != 0 && errno != EEXIST)
			return -1;
	}
	return mkdir(path, 0700) != 0 && errno != EEXIST ? -1 : 0;
}

enum ota_err outbox_directory_open(struct outbox *outbox, struct ota_why *why)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	outbox->directory = open(outbox->path, flags);
	if (outbox->directory < 0 && errno == ENOENT) {
		if (make_directories(outbox->path) != 0) {
			ota_why_set(why, "cannot create the state directory '%s': %s", outbox->path,
				outbox_errno_text(errno));
			return OTA_ERR_IO;
		}
		outbox->directory = open(outbox->path, flags);
	}
	if (outbox->directory < 0) {
		ota_why_set(why, "cannot open the state directory '%s': %s", outbox->path,
			outbox_errno_text(errno));
		return OTA_ERR_IO;
	}
	return OTA_OK;
}

enum ota_err outbox_lock(struct outbox *outbox, struct ota_why *why)
{
	outbox->lock =
		openat(outbox->directory, lock_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (outbox->lock < 0) {
		ota_why_set(why, "cannot write to the state directory '%s': %s: %s", outbox->path,
			lock_name, outbox_errno_text(errno));
		return OTA_ERR_IO;
	}
	char holder[24] = "";
	if (flock(outbox->lock, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK) {
			ota_why_set(
				why, "cannot lock '%s/%s': %s", outbox->path, lock_name, outbox_errno_text(errno));
			return OTA_ERR_IO;
		}
		size_t length;
		if (outbox_read_at(outbox->lock, 0, holder, sizeof holder - 1, &length) != OTA_OK)
			length = 0;
		holder[length] = '\0';
		holder[strspn(holder, "0123456789")] = '\0';
		ota_why_set(why,
			"the state directory '%s' is in use by process %s; each broker needs its own",
			outbox->path, holder[0] != '\0' ? holder : "unknown");
		return OTA_ERR_CONFLICT;
	}
	int length = snprintf(holder, sizeof holder, "%ld\n", (long)getpid());
	/* The number helps a person only, so the lock is good without it; the disk may be full. */
	if (ftruncate(outbox->lock, 0) == 0 && pwrite(outbox->lock, holder, (size_t)length, 0) < 0)
		outbox_report(
			outbox, "cannot write '%s/%s': %s", outbox->path, lock_name, outbox_errno_text(errno));
	return OTA_OK;
}

enum ota_err outbox_read_at(int fd, uint64_t offset, void *bytes, size_t size, size_t *length)
{
	size_t have = 0;
	while (have < size) {
		ssize_t n = pread(fd, (uint8_t *)bytes + have, size - have, (off_t)(offset + have));
		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return OTA_ERR_IO;
		have += (size_t)n;
	}
	*length = have;
	return OTA_OK;
}

static bool position_slot_read(int fd, unsigned slot, struct position_slot *position)
{
	size_t length;
	return outbox_read_at(
			   fd, (uint64_t)slot * POSITION_SLOT_DISTANCE, position, sizeof *position, &length)
		== OTA_OK
		&& length == sizeof *position
		&& memcmp(position->magic, position_magic, sizeof position->magic) == 0
		&& position->version == OUTBOX_VERSION && position->joined <= 1
		&& position->committed <= OUTBOX_NUMBER_MAX && position->base <= (uint64_t)INT64_MAX
		&& position->limit <= OUTBOX_NUMBER_MAX
		&& position->crc == outbox_crc(0, position, offsetof(struct position_slot, crc));
}

enum ota_err outbox_position_read(
	struct outbox *outbox, struct outbox_position *position, bool *damaged, struct ota_why *why)
{
	outbox->position_fd =
		openat(outbox->directory, position_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat status;
	if (outbox->position_fd < 0 || fstat(outbox->position_fd, &status) != 0) {
		ota_why_set(
			why, "cannot open '%s/%s': %s", outbox->path, position_name, outbox_errno_text(errno));
		return OTA_ERR_IO;
	}
	bool found = false;
	struct position_slot best = { .generation = 0 };
	for (unsigned slot = 0; slot < POSITION_SLOTS; slot++) {
		struct position_slot one;
		if (!position_slot_read(outbox->position_fd, slot, &one)
			|| (found && one.generation < best.generation))
			continue;
		found = true;
		best = one;
		outbox->position_slot = (slot + 1) % POSITION_SLOTS; /* for the next write */
	}
	outbox->position_generation = best.generation;
	*damaged = !found && status.st_size > 0;
	if (!found)
		return OTA_ERR_NOT_FOUND;
	*position = (struct outbox_position){ .committed = best.committed,
		.base = best.base,
		.limit = best.limit,
		.joined = best.joined == 1 };
	return OTA_OK;
}

enum ota_err outbox_position_write(struct outbox *outbox, const struct outbox_position *position,
	bool durable, struct ota_why *why)
{
	struct position_slot slot = { .version = OUTBOX_VERSION,
		.joined = position->joined,
		.generation = outbox->position_generation + 1,
		.committed = position->committed,
		.base = position->base,
		.limit = position->limit };
	memcpy(slot.magic, position_magic, sizeof slot.magic);
	slot.crc = outbox_crc(0, &slot, offsetof(struct position_slot, crc));
	errno = ENOSPC; /* what a short write means */
	if (pwrite(outbox->position_fd, &slot, sizeof slot,
			(off_t)outbox->position_slot * POSITION_SLOT_DISTANCE)
			!= (ssize_t)sizeof slot
		|| (durable && fdatasync(outbox->position_fd) != 0)) {
		ota_why_set(
			why, "cannot write '%s/%s': %s", outbox->path, position_name, outbox_errno_text(errno));
		return OTA_ERR_IO;
	}
	outbox->position_generation++;
	outbox->position_slot = (outbox->position_slot + 1) % POSITION_SLOTS;
	return OTA_OK;
}

enum ota_err outbox_set_aside(
	const struct outbox *outbox, uint64_t first, char name[OUTBOX_NAME_MAX], struct ota_why *why)
{
	char old_name[OUTBOX_NAME_MAX];
	char stamp[20];
	struct tm utc;
	struct timespec now;
	outbox_name(old_name, first);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (gmtime_r(&now.tv_sec, &utc) == NULL
		|| strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc) == 0)
		stamp[0] = '\0';
	enum {
		ATTEMPTS = 100
	};
	int length = snprintf(name, OUTBOX_NAME_MAX, "%.27s.damaged-%s", old_name, stamp);
	/* We hold the lock of the directory, so nobody else makes such a name between look and rename. */
	for (int i = 1;
		 i < ATTEMPTS && faccessat(outbox->directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0; i++)
		(void)snprintf(name + length, OUTBOX_NAME_MAX - (size_t)length, "-%d", i);
	if (renameat(outbox->directory, old_name, outbox->directory, name) != 0) {
		ota_why_set(why, "cannot rename '%s/%s' to '%s': %s", outbox->path, old_name, name,
			outbox_errno_text(errno));
		return OTA_ERR_IO;
	}
	return OTA_OK;
}

enum ota_err outbox_segment_create(
	struct outbox *outbox, uint64_t first, int *fd, struct ota_why *why)
{
	char name[OUTBOX_NAME_MAX];
	struct outbox_segment_header header;
	outbox_name(name, first);
	outbox_header_encode(&header, first, atomic_load(&outbox->base));
	int created =
		openat(outbox->directory, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	errno = created < 0 ? errno : ENOSPC;
	if (created < 0 || pwrite(created, &header, sizeof header, 0) != (ssize_t)sizeof header) {
		bool full = errno == ENOSPC || errno == EDQUOT;
		ota_why_set(why, "cannot create '%s/%s': %s", outbox->path, name, outbox_errno_text(errno));
		if (created >= 0) {
			(void)close(created);
			(void)unlinkat(outbox->directory, name, 0);
		}
		return full ? OTA_ERR_FULL : OTA_ERR_IO;
	}
	*fd = created;
	return OTA_OK;
}
