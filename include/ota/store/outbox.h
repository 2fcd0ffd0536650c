/*
 * outbox - the local, crash-safe, ordered event log between the broker's thread and the store thread.
 *
 * Threads: outbox_append(), _gather() and _flush() belong to the broker's thread; outbox_idle(), _read(), _peek(), _commit(),
 * _rewind(), _skip_to(), _sync() and _reader_end() to the store thread; the pending figures and the wake descriptor
 * to any; open and close while no other call runs.  An append takes no lock and waits for no reader.
 *
 * Ownership: the outbox owns its files and the memory of a batch.  One process per directory.
 *
 * Promise: what outbox_append() acknowledged survives SIGKILL of the process at once, and loss of
 * power from the next outbox_sync() on.  It is given to the reader in order until it is committed;
 * after a crash it may be given again, with the same sequence number, and outbox_skip_to() drops what
 * the database already has.  Together: exactly once.  The format is in docs/design/outbox.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

enum {
	OUTBOX_RECORD_MAX = 65536,      /* bytes of one record */
	OUTBOX_GATHER_BYTES = 32 << 10, /* of records that wait in memory */
	OUTBOX_SEGMENT_MIN = 128 << 10, /* bytes of a segment file */
	OUTBOX_SEGMENT_DEFAULT = 16 << 20,
	OUTBOX_SEGMENT_MAX = 64 << 20,
	OUTBOX_BATCH_RECORDS_MAX = 100000, /* limits of one outbox_read() */
	OUTBOX_BATCH_BYTES_MAX = 64 << 20,
};

/* A quarter of it must hold a segment of OUTBOX_SEGMENT_MIN. */
#define OUTBOX_BYTES_MIN     ((uint64_t)4 * OUTBOX_SEGMENT_MIN)
#define OUTBOX_BYTES_DEFAULT ((uint64_t)1 << 30)
#define OUTBOX_BYTES_MAX     ((uint64_t)1 << 40)

struct outbox;

struct outbox_options {
	const char *directory; /* created with its parents (mode 0700) when missing */
	uint64_t max_bytes;    /* on disk; OUTBOX_BYTES_MIN .. _MAX, 0: OUTBOX_BYTES_DEFAULT */
	uint32_t
		segment_bytes; /* OUTBOX_SEGMENT_MIN .. _MAX, 0: default; at most max_bytes / 4 is used */
	/* Called with one line for the log when something was cut, lost, renumbered or set aside: by the
	 * thread inside outbox_open() and by the store thread afterwards.  May be NULL. */
	void (*report)(void *context, const char *line);
	void *report_context;
};

struct outbox_record {
	uint64_t sequence;
	const uint8_t *data;
	uint32_t size;
};

struct outbox_batch {
	const struct outbox_record *records; /* of the outbox; valid until the next read or close */
	size_t count;                        /* 0: nothing is left to read */
};

/*
 * Opens the log in options->directory and repairs what a crash left: a torn last record is cut, a file
 * that is not of this log is renamed *.damaged-<time>; both are reported.  The cost does not depend on
 * the backlog (at most two segments are read).  Store thread calls are allowed afterwards; outbox_read()
 * needs outbox_skip_to() first.
 *
 * The caller owns *outbox (outbox_close()).  Errors: INVALID (an option), IO (names the path), NOMEM,
 * CONFLICT (another process has it open; names its pid).
 */
OTA_MUST_USE enum ota_err outbox_open(
	const struct outbox_options *options, struct outbox **outbox, struct ota_why *why);

/* Makes everything durable and frees the outbox; NULL does nothing.  No other call may run. */
void outbox_close(struct outbox *outbox);

/*
 * Appends one record of 1 .. OUTBOX_RECORD_MAX bytes.  `sequence` (may be NULL) receives its number;
 * until the first outbox_skip_to() of a run the number is provisional, see there.
 *
 * Errors: INVALID (size), FULL (max_bytes or the disk is full), IO, STATE (2^62 numbers are used up).  After an error nothing of the
 * record is in the log, and the call works again by itself once there is room.
 */
OTA_MUST_USE enum ota_err outbox_append(
	struct outbox *outbox, const void *data, size_t size, uint64_t *sequence, struct ota_why *why);

/*
 * Like outbox_append(), for a record that nobody is told is safe: it may wait in memory, and is written in its place, together with
 * what else waits, by the next outbox_append() or outbox_flush(), or when OUTBOX_GATHER_BYTES have come together.  Until then SIGKILL
 * loses it.
 *
 * Errors as outbox_append(); FULL and IO also when what waits leaves no room and cannot be written.  Nothing of this record is kept
 * then, and all that waited goes on waiting.
 */
OTA_MUST_USE enum ota_err outbox_gather(
	struct outbox *outbox, const void *data, size_t size, struct ota_why *why);

/* Writes what waits, all of it or nothing; nothing to do is no error.  Errors: FULL, IO: it goes on waiting. */
OTA_MUST_USE enum ota_err outbox_flush(struct outbox *outbox, struct ota_why *why);

/* Becomes readable when a record arrives after outbox_idle() returned true.  Of the outbox. */
int outbox_wake_fd(const struct outbox *outbox);

/* The descriptors that both threads use, for a reader with a table of its own; returns how many. */
enum {
	OUTBOX_DESCRIPTORS = 4
};
size_t outbox_descriptors(const struct outbox *outbox, int descriptors[OUTBOX_DESCRIPTORS]);

/* The reader's thread is about to end: closes what it has opened, which may have no meaning in another thread. */
void outbox_reader_end(struct outbox *outbox);

/* Declares the reader idle.  False: there is something to read, do not sleep.  True: sleep on the wake
 * descriptor; the next append makes it readable. */
OTA_MUST_USE bool outbox_idle(struct outbox *outbox);

/*
 * Gives the records that follow the last ones read, in order, without removing them: at most
 * `max_records` (1 .. OUTBOX_BATCH_RECORDS_MAX) and at most `max_bytes` (1 .. OUTBOX_BATCH_BYTES_MAX) of
 * data, but at least one record when there is one.  Damaged records are skipped and reported.
 *
 * Errors: STATE (outbox_skip_to() has not been called), INVALID, IO, NOMEM.
 */
OTA_MUST_USE enum ota_err outbox_read(struct outbox *outbox, struct outbox_batch *batch,
	size_t max_records, size_t max_bytes, struct ota_why *why);

/*
 * Marks every record up to `sequence` as done and removes the segments that hold nothing else.  It must
 * be a number that outbox_read() gave; one that is already committed is accepted and changes nothing.
 * Errors: INVALID (not read yet), IO (the records are done in this run, but may be read again in the
 * next one).
 */
OTA_MUST_USE enum ota_err outbox_commit(
	struct outbox *outbox, uint64_t sequence, struct ota_why *why);

/*
 * Shows the records that are not committed, in order, without reading them: before outbox_skip_to() too, when their numbers are not
 * final, so none is given.  Errors: IO, NOMEM.
 */
OTA_MUST_USE enum ota_err outbox_peek(struct outbox *outbox,
	void (*see)(void *context, const uint8_t *data, size_t size), void *context,
	struct ota_why *why);

/* The next outbox_read() starts again behind the last committed record. */
void outbox_rewind(struct outbox *outbox);

/*
 * Tells the outbox the last sequence number the database has from it (0: none), 0 .. INT64_MAX.  To be
 * called after every connect to the database, before the first outbox_read().
 *
 * Records up to `sequence` count as committed and the reader is rewound.  When the database is ahead
 * of this log (the directory was deleted, restored from a backup, or lost its tail with the power), the
 * records it cannot have seen are renumbered to follow `sequence`, durably, so that none is taken for a
 * repetition.  This is why sequence numbers are final only from here on.
 *
 * Errors: INVALID (range), IO, NOMEM; call it again before reading then.
 */
OTA_MUST_USE enum ota_err outbox_skip_to(
	struct outbox *outbox, uint64_t sequence, struct ota_why *why);

/* Makes everything appended so far survive a loss of power (fdatasync); cheap when nothing is new.
 * Errors: IO. */
OTA_MUST_USE enum ota_err outbox_sync(struct outbox *outbox, struct ota_why *why);

/* How many records are appended and not committed (damaged ones count until they are passed), and the
 * bytes they take in the log.  Any thread; each is exact for some recent moment. */
uint64_t outbox_pending_records(const struct outbox *outbox);
uint64_t outbox_pending_bytes(const struct outbox *outbox);
