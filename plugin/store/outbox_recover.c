#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outbox_internal.h"

enum {
	/* More than this behind the last whole record is not one torn record. */
	TORN_BYTES_MAX = OUTBOX_RECORD_MAX + sizeof(struct outbox_record_header) + OUTBOX_ALIGN,
	SMALLEST_RECORD = 24,
	SPARE_SEGMENTS = 16,
	SEGMENTS_MAX = 65536,
	FOREIGN_JUMP_MAX = 1 << 30,
};

struct found { /* a file that may be a segment */
	uint64_t first, size, base;
	const char *wrong; /* NULL: its header is good */
};

struct recovery {
	struct found *files;
	size_t count, capacity;
	struct outbox_position position;
	uint64_t tail;         /* the last number that is or may have been used */
	uint64_t foreign_tail; /* as far as the last file that was set aside tells */
	bool set_aside;        /* a lost range is already reported */
};

static enum ota_err file_failed(
	const struct outbox *outbox, const char *verb, uint64_t first, struct ota_why *why)
{
	char name[OUTBOX_NAME_MAX];
	int code = errno;
	outbox_name(name, first);
	ota_why_set(why, "cannot %s '%s/%s': %s", verb, outbox->path, name, outbox_errno_text(code));
	return OTA_ERR_IO;
}

static int compare_found(const void *left, const void *right)
{
	const struct found *a = left;
	const struct found *b = right;
	return (a->first > b->first) - (a->first < b->first);
}

static enum ota_err list_files(const struct outbox *outbox, struct recovery *r, struct ota_why *why)
{
	enum ota_err result = OTA_ERR_IO;
	int fd = openat(outbox->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	if (directory == NULL) {
		ota_why_set(why, "cannot list '%s': %s", outbox->path, outbox_errno_text(errno));
		if (fd >= 0)
			(void)close(fd);
		return OTA_ERR_IO;
	}
	const struct dirent *entry;
	while ((errno = 0, entry = readdir(directory)) != NULL) {
		uint64_t first;
		if (!outbox_name_parse(entry->d_name, &first))
			continue;
		if (r->count == r->capacity) {
			size_t capacity = r->capacity * 2 + SPARE_SEGMENTS;
			struct found *more = realloc(r->files, capacity * sizeof *more);
			if (more == NULL) {
				ota_why_set(why, "out of memory for %zu files", capacity);
				result = OTA_ERR_NOMEM;
				goto out;
			}
			r->files = more;
			r->capacity = capacity;
		}
		r->files[r->count++] = (struct found){ .first = first };
	}
	if (errno != 0) {
		ota_why_set(why, "cannot list '%s': %s", outbox->path, outbox_errno_text(errno));
		goto out;
	}
	if (r->count > 1)
		qsort(r->files, r->count, sizeof *r->files, compare_found);
	result = OTA_OK;
out:
	(void)closedir(directory);
	return result;
}

/* Reads one header; sets `wrong` when it is no segment. */
static enum ota_err look_at(const struct outbox *outbox, struct found *file, struct ota_why *why)
{
	char name[OUTBOX_NAME_MAX];
	struct outbox_segment_header header;
	struct stat status;
	size_t length = 0;
	outbox_name(name, file->first);
	/* NONBLOCK: a pipe with this name must not hang the broker. */
	int fd = openat(outbox->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ELOOP) {
		file->wrong = "it is a symbolic link";
		return OTA_OK;
	}
	if (fd < 0 || fstat(fd, &status) != 0) {
		enum ota_err err = file_failed(outbox, "open", file->first, why);
		if (fd >= 0)
			(void)close(fd);
		return err;
	}
	enum ota_err result = OTA_OK;
	if (!S_ISREG(status.st_mode)) {
		file->wrong = "it is not a regular file";
	} else if (outbox_read_at(fd, 0, &header, sizeof header, &length) != OTA_OK) {
		result = file_failed(outbox, "read", file->first, why);
	} else {
		file->size = (uint64_t)status.st_size;
		if (file->size > OUTBOX_SEGMENT_MAX)
			file->wrong = "it is larger than a segment can be";
		else if (length < sizeof header)
			file->wrong = "it is too short for a header";
		else
			file->wrong = outbox_header_check(&header, file->first);
		file->base = file->wrong == NULL ? header.base : 0;
	}
	(void)close(fd);
	return result;
}

/* Takes a file that is no segment out of the way, and says which events may have been in it. */
static enum ota_err remove_foreign(
	struct outbox *outbox, struct recovery *r, size_t i, uint64_t base, struct ota_why *why)
{
	struct found *file = &r->files[i];
	bool last = i + 1 == r->count;
	char name[OUTBOX_NAME_MAX];
	char old_name[OUTBOX_NAME_MAX];
	outbox_name(old_name, file->first);
	if (last)
		r->foreign_tail = file->first - 1
			+ (file->size > sizeof(struct outbox_segment_header) ? file->size / SMALLEST_RECORD
																 : 0);
	if (file->size == 0 && file->wrong != NULL && last
		&& unlinkat(outbox->directory, old_name, 0) == 0)
		return OTA_OK; /* a crash between creating the file and its first byte */
	enum ota_err err = outbox_set_aside(outbox, file->first, name, why);
	if (err != OTA_OK)
		return err;
	r->set_aside = true;
	uint64_t end = last ? r->foreign_tail : r->files[i + 1].first - 1;
	char lost[64] = "no event is lost";
	if (last && (file->size > 0 || end > r->position.committed))
		(void)snprintf(lost, sizeof lost, "events from %" PRIu64 " on are lost if it held any",
			base + file->first);
	else if (!last && end > r->position.committed)
		(void)snprintf(lost, sizeof lost, "events %" PRIu64 " to %" PRIu64 " are lost",
			base + file->first, base + end);
	outbox_report(outbox, "'%s/%s' is set aside as '%s': %s; %s", outbox->path, old_name, name,
		file->wrong, lost);
	return OTA_OK;
}

/* Finds the last whole record of the last segment, cuts a torn one behind it, and makes the segment the
 * current one.  *tail: its last number. */
static enum ota_err recover_tail(
	struct outbox *outbox, struct recovery *r, uint64_t base, uint64_t *tail, struct ota_why *why)
{
	struct found *file = &r->files[r->count - 1];
	enum ota_err result = OTA_ERR_IO;
	char name[OUTBOX_NAME_MAX];
	size_t length = 0;
	bool reuse = false;
	uint64_t number = file->first - 1;
	uint64_t highest = file->first + file->size / SMALLEST_RECORD;
	size_t at = sizeof(struct outbox_segment_header);
	size_t end = at;
	outbox_name(name, file->first);
	uint8_t *bytes = malloc((size_t)file->size);
	int fd = openat(outbox->directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (bytes == NULL) {
		ota_why_set(why, "out of memory for %" PRIu64 " bytes", file->size);
		result = OTA_ERR_NOMEM;
		goto out;
	}
	if (fd < 0 || outbox_read_at(fd, 0, bytes, (size_t)file->size, &length) != OTA_OK) {
		result = file_failed(outbox, "read", file->first, why);
		goto out;
	}
	while (at < length) {
		struct outbox_record_header header;
		if (!outbox_record_check(bytes + at, length - at, number + 1, highest, &header)) {
			at += outbox_record_search(bytes + at, length - at, number + 1, highest);
			continue; /* the reader reports what lies before a later record */
		}
		number = header.number;
		at += (size_t)outbox_record_bytes(header.size);
		end = at;
	}
	reuse = length - end <= TORN_BYTES_MAX;
	if (!reuse) {
		number = highest; /* too much to be torn: keep it, the reader reports it */
	} else if (end < length) {
		if (ftruncate(fd, (off_t)end) != 0) {
			result = file_failed(outbox, "cut the torn end of", file->first, why);
			goto out;
		}
		outbox_report(outbox,
			"'%s/%s' ended in an unfinished event: %zu bytes after event %" PRIu64 " are cut off",
			outbox->path, name, length - end, base + number);
		file->size = end;
	}
	*tail = number;
	result = OTA_OK;
out:
	if (result == OTA_OK && reuse) {
		outbox->fd = fd;
		fd = -1;
	}
	if (fd >= 0)
		(void)close(fd);
	free(bytes);
	return result;
}

/* The position file, or what stands in for it. */
static enum ota_err recover_position(struct outbox *outbox, struct recovery *r, struct ota_why *why)
{
	bool damaged = false;
	enum ota_err err = outbox_position_read(outbox, &r->position, &damaged, why);
	if (err == OTA_OK)
		return OTA_OK;
	if (err != OTA_ERR_NOT_FOUND)
		return err;
	r->position = (struct outbox_position){ .joined = false };
	if (damaged || r->count > 0)
		outbox_report(outbox,
			"'%s/outbox.position' is %s; all events in the files are offered to the database again",
			outbox->path, damaged ? "damaged" : "missing");
	for (size_t i = r->count; i-- > 0;) {
		if (r->files[i].wrong != NULL)
			continue;
		if (!r->position.joined)
			r->position.base = r->files[i].base; /* the newest */
		r->position.joined = true;               /* the database may have any of them */
		r->position.committed = r->files[i].first - 1;
	}
	return OTA_OK;
}

/* Puts the good segments into the table and begins a new one when the last is not to be continued. */
static enum ota_err build_table(struct outbox *outbox, struct recovery *r, struct ota_why *why)
{
	uint64_t wanted = outbox->max_bytes / outbox->segment_bytes * 2 + SPARE_SEGMENTS;
	outbox->capacity = (wanted < SEGMENTS_MAX ? wanted : SEGMENTS_MAX) + r->count;
	outbox->segments = calloc((size_t)outbox->capacity, sizeof *outbox->segments);
	if (outbox->segments == NULL) {
		ota_why_set(why, "out of memory for %" PRIu64 " segments", outbox->capacity);
		return OTA_ERR_NOMEM;
	}
	for (size_t i = 0; i < r->count; i++) {
		outbox->segments[i].first = r->files[i].first;
		atomic_store(&outbox->segments[i].end, r->files[i].size);
		atomic_fetch_add(&outbox->used_bytes, r->files[i].size);
		atomic_fetch_add(
			&outbox->appended_bytes, r->files[i].size - sizeof(struct outbox_segment_header));
	}
	atomic_store(&outbox->head, r->count);
	if (outbox->fd >= 0)
		return OTA_OK;
	enum ota_err err = outbox_segment_create(outbox, r->tail + 1, &outbox->fd, why);
	if (err == OTA_ERR_FULL && r->count > 0)
		return OTA_OK; /* what is there can be read; the first append tries again */
	if (err != OTA_OK)
		return OTA_ERR_IO;
	struct outbox_segment *segment = &outbox->segments[r->count];
	segment->first = r->tail + 1;
	atomic_store(&segment->end, sizeof(struct outbox_segment_header));
	atomic_fetch_add(&outbox->used_bytes, sizeof(struct outbox_segment_header));
	atomic_store(&outbox->head, r->count + 1);
	return OTA_OK;
}

/* Places the reader and writes the position down as the start of this run. */
static enum ota_err place_reader(struct outbox *outbox, struct recovery *r, struct ota_why *why)
{
	const struct outbox_position *position = &r->position;
	struct outbox_cursor cursor = { .offset = sizeof(struct outbox_segment_header),
		.number = outbox->segments[0].first - 1 };
	if (cursor.number > position->committed && !r->set_aside)
		outbox_report(outbox, "events %" PRIu64 " to %" PRIu64 " are in no file of '%s'",
			position->base + position->committed + 1, position->base + cursor.number, outbox->path);
	outbox->delivered = position->committed;
	/* What an earlier run may have sent ends where its log ends, and cannot grow before skip_to. */
	outbox->limit = position->joined || position->limit > r->tail ? r->tail : position->limit;
	outbox->joined = false;
	enum ota_err err = outbox_cursor_skip(outbox, &cursor, position->committed, why);
	if (err == OTA_OK)
		err = outbox_commit_cursor(outbox, &cursor, false, why);
	if (err == OTA_OK) /* the second copy exists from now on: a full disk cannot prevent a commit */
		err = outbox_commit_cursor(outbox, &outbox->committed, true, why);
	outbox->reader = outbox->committed;
	outbox->handed = outbox->committed.number;
	return err;
}

/* Sets aside what is no segment; only good files stay in the list. */
static enum ota_err sort_out(struct outbox *outbox, struct recovery *r, struct ota_why *why)
{
	size_t good = 0;
	for (size_t i = 0; i < r->count; i++) {
		if (r->files[i].wrong == NULL)
			continue;
		enum ota_err err = remove_foreign(outbox, r, i, r->position.base, why);
		if (err != OTA_OK)
			return err;
	}
	for (size_t i = 0; i < r->count; i++) {
		if (r->files[i].wrong == NULL)
			r->files[good++] = r->files[i];
	}
	r->count = good;
	return OTA_OK;
}

/* Decides with which number the log goes on, and whether in its last file. */
static enum ota_err recover_numbers(struct outbox *outbox, struct recovery *r, struct ota_why *why)
{
	uint64_t in_files = 0;
	if (r->count > 0) {
		enum ota_err err = recover_tail(outbox, r, r->position.base, &in_files, why);
		if (err != OTA_OK)
			return err;
	}
	r->tail = in_files;
	if (r->tail < r->position.committed)
		r->tail = r->position.committed; /* the log lost its end with the power */
	/* A damaged last file used numbers too; but a file that only has such a name proves nothing. */
	if (r->tail < r->foreign_tail && r->foreign_tail - r->tail <= FOREIGN_JUMP_MAX)
		r->tail = r->foreign_tail;
	if (r->tail != in_files && outbox->fd >= 0) {
		/* Numbers were used behind the last segment: continue in a new one. */
		(void)close(outbox->fd);
		outbox->fd = -1;
	}
	atomic_store(&outbox->tail, r->tail);
	return OTA_OK;
}

enum ota_err outbox_recover(struct outbox *outbox, struct ota_why *why)
{
	struct recovery r = { .files = NULL };
	enum ota_err err = list_files(outbox, &r, why);
	for (size_t i = 0; err == OTA_OK && i < r.count; i++)
		err = look_at(outbox, &r.files[i], why);
	if (err == OTA_OK)
		err = recover_position(outbox, &r, why);
	if (err == OTA_OK) {
		atomic_store(&outbox->base, r.position.base);
		err = sort_out(outbox, &r, why);
	}
	if (err == OTA_OK)
		err = recover_numbers(outbox, &r, why);
	if (err == OTA_OK)
		err = build_table(outbox, &r, why);
	if (err == OTA_OK && fsync(outbox->directory) != 0) {
		ota_why_set(why, "cannot sync '%s': %s", outbox->path, outbox_errno_text(errno));
		err = OTA_ERR_IO;
	}
	if (err == OTA_OK)
		err = place_reader(outbox, &r, why);
	free(r.files);
	return err;
}
