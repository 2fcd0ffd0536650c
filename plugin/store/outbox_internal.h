/*
 * outbox_internal - what the files of the outbox share: the format on disk and the state in memory.
 *
 * Threads: a field belongs to the thread its group names; what both threads use is atomic.
 *
 * Two counts: a record's *number* is what the files hold, counting from 1 and never changing; its
 * *sequence*, what callers see, is number + base.  `base` changes only in outbox_skip_to().
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ota/base/error.h"
#include "ota/store/outbox.h"

enum {
	OUTBOX_VERSION = 1,
	OUTBOX_ALIGN = 8, /* records start at multiples, which makes the search behind damage cheap */
	OUTBOX_NAME_MAX = 80,
	OUTBOX_WINDOW_BYTES = 256 << 10,
	/* What waits to be written, and behind it one record. */
	OUTBOX_SCRATCH_BYTES =
		OUTBOX_GATHER_BYTES + OUTBOX_RECORD_MAX + 16 /* its header */ + OUTBOX_ALIGN,
};

/* Numbers beyond it are not believed; far from both 64 bits and what a log can reach. */
#define OUTBOX_NUMBER_MAX ((uint64_t)1 << 62)

/* On disk, in the byte order of the host (the directory is local; a foreign order fails the checksum). */
struct outbox_segment_header {
	char magic[8];
	uint32_t version;
	uint32_t header_bytes;
	uint64_t first; /* number of the first record; also the name of the file */
	uint64_t base;  /* when the segment was begun; used only when the position file is lost */
	uint8_t reserved[28];
	uint32_t crc; /* of the bytes before */
};

struct outbox_record_header {
	uint32_t crc; /* of size, number and data */
	uint32_t size;
	uint64_t number;
};

_Static_assert(sizeof(struct outbox_record_header) == 16, "OUTBOX_SCRATCH_BYTES counts it so");

/* The place between two records: everything up to `number` lies before it. */
struct outbox_cursor {
	uint64_t index;  /* of the segment, counting all since open */
	uint64_t offset; /* in its file */
	uint64_t number;
	uint64_t bytes; /* of records before it, counted from the committed place at open */
};

/* The durable place of the reader. */
struct outbox_position {
	uint64_t committed; /* number */
	uint64_t base;
	uint64_t limit; /* the last number that the database may have; meaningful unless `joined` */
	bool joined;    /* outbox_skip_to() was called in the run that wrote this */
};

struct outbox_segment {
	uint64_t first;
	_Atomic uint64_t end; /* published size of the file */
	uint64_t synced;      /* store: this much is on the disk */
	uint64_t reported;    /* store: damage before this offset is already reported */
	bool damaged;         /* store: to be set aside, not removed */
};

struct outbox_window { /* a piece of one segment in memory */
	int fd;
	uint64_t index; /* segment of fd */
	uint64_t offset;
	size_t length;
	uint8_t *bytes;
};

struct outbox {
	/* constant after open */
	int directory, lock, wake, position_fd;
	uint64_t max_bytes;
	uint64_t segment_bytes;
	uint64_t capacity; /* of segments */
	void (*report)(void *context, const char *line);
	void *report_context;
	char *path;

	/* shared: segment i, first <= i < head, is segments[i % capacity] */
	struct outbox_segment *segments;
	_Atomic uint64_t head, first;
	_Atomic uint64_t tail; /* number of the last record */
	_Atomic uint64_t base;
	_Atomic uint64_t used_bytes; /* of all segment files */
	_Atomic uint64_t appended_bytes, committed_bytes;
	_Atomic uint64_t committed_number;
	atomic_bool idle;

	/* broker's thread */
	int fd;           /* current segment */
	bool torn;        /* bytes of a failed append may follow the end */
	uint8_t *scratch; /* encoded records: those that wait, and room for one more */
	uint64_t waiting; /* records, which follow `tail` */
	size_t waiting_bytes;

	/* store thread */
	struct outbox_cursor committed, reader;
	struct outbox_window window;
	uint64_t handed;    /* the last number given to the reader, ever */
	uint64_t delivered; /* damage of records up to here loses nothing */
	uint64_t limit;     /* see outbox_position */
	bool joined;
	unsigned position_slot;
	uint64_t position_generation;
	uint64_t synced_index;
	struct outbox_record *records; /* the last batch */
	struct outbox_cursor *after;   /* and the place behind each of its records */
	size_t records_capacity, records_count;
	uint8_t *data;
	size_t data_capacity;
};

/* outbox_format.c: pure, any thread */
uint32_t outbox_crc(uint32_t crc, const void *data, size_t size);
uint32_t outbox_crc_portable(uint32_t crc, const void *data, size_t size); /* the same, for tests */
uint64_t outbox_record_bytes(size_t size); /* in the log, for `size` bytes of data */
size_t outbox_record_encode(uint8_t *out, uint64_t number, const void *data, size_t size);
/* True: a whole record starts at `bytes`, its number is in from .. to.  `header` is set then. */
OTA_MUST_USE bool outbox_record_check(const uint8_t *bytes, size_t available, uint64_t from,
	uint64_t to, struct outbox_record_header *header);
/* The offset of the next whole record with a number in from .. to, or `length` when there is none. */
size_t outbox_record_search(const uint8_t *bytes, size_t length, uint64_t from, uint64_t to);
void outbox_header_encode(struct outbox_segment_header *header, uint64_t first, uint64_t base);
/* What is wrong with the header of segment `first`; NULL: nothing. */
const char *outbox_header_check(const struct outbox_segment_header *header, uint64_t first);
void outbox_name(char name[OUTBOX_NAME_MAX], uint64_t first);
OTA_MUST_USE bool outbox_name_parse(const char *name, uint64_t *first);

/* outbox_files.c */
/* The text of an errno value, without the shared buffer of strerror(). */
const char *outbox_errno_text(int code);
void outbox_report(const struct outbox *outbox, const char *format, ...) OTA_PRINTF(2, 3);
OTA_MUST_USE enum ota_err outbox_directory_open(struct outbox *outbox, struct ota_why *why);
OTA_MUST_USE enum ota_err outbox_lock(struct outbox *outbox, struct ota_why *why);
/* NOT_FOUND: the file is new, or neither of its copies is whole (`*damaged` tells which). */
OTA_MUST_USE enum ota_err outbox_position_read(
	struct outbox *outbox, struct outbox_position *position, bool *damaged, struct ota_why *why);
OTA_MUST_USE enum ota_err outbox_position_write(struct outbox *outbox,
	const struct outbox_position *position, bool durable, struct ota_why *why);
/* Renames a segment to *.damaged-<time>; `name` receives the new name. */
OTA_MUST_USE enum ota_err outbox_set_aside(
	const struct outbox *outbox, uint64_t first, char name[OUTBOX_NAME_MAX], struct ota_why *why);
/* Fills `bytes` from `offset`; *length is less than `size` at the end of the file. */
OTA_MUST_USE enum ota_err outbox_read_at(
	int fd, uint64_t offset, void *bytes, size_t size, size_t *length);
OTA_MUST_USE enum ota_err outbox_segment_create(
	struct outbox *outbox, uint64_t first, int *fd, struct ota_why *why);

/* outbox_recover.c: brings segments, tail and committed place up at open */
OTA_MUST_USE enum ota_err outbox_recover(struct outbox *outbox, struct ota_why *why);

/* outbox_cursor.c: store thread */
struct outbox_segment *outbox_segment_at(const struct outbox *outbox, uint64_t index);
/* The record at the cursor, which then moves behind it.  *data is valid until the next call.
 * NOT_FOUND: nothing follows. */
OTA_MUST_USE enum ota_err outbox_cursor_next(struct outbox *outbox, struct outbox_cursor *cursor,
	struct outbox_record_header *header, const uint8_t **data, struct ota_why *why);
/* Moves the cursor behind the last record whose number is at most `number`. */
OTA_MUST_USE enum ota_err outbox_cursor_skip(
	struct outbox *outbox, struct outbox_cursor *cursor, uint64_t number, struct ota_why *why);
/* Makes `cursor` the committed place, writes it down and removes the segments before it. */
OTA_MUST_USE enum ota_err outbox_commit_cursor(
	struct outbox *outbox, const struct outbox_cursor *cursor, bool durable, struct ota_why *why);
