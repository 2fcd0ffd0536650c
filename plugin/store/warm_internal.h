/* What warm.c (the facts) and warm_file.c (their file) share; see ota/store/warm.h. */
#pragma once

#include "ota/base/table.h"
#include "ota/store/warm.h"

/* A fact; key and record in one block. */
struct warm_entry {
	uint8_t *payload; /* the encoded record */
	uint32_t size;
	uint32_t key_length;
	uint64_t round; /* when it was last put, see warm_mark_begin() */
	UT_hash_handle hh;
	uint8_t key[];
};

struct warm {
	struct warm_entry *entries; /* by kind and key */
	size_t counts[WARM_KIND_MAX + 1];
	uint64_t live_bytes; /* of all entries, framed */
	uint64_t round;
	char *broker;
	char *where; /* a hash of where the database is */
	struct logring *log;
	char *path; /* of the directory, for the log */
	int directory;
	int fd;              /* of the file, -1: to be written anew */
	uint64_t file_bytes; /* in it */
	uint32_t chain;      /* checksum of the last record in it */
	bool dirty;          /* since the last sync */
	bool failing;        /* the last write failed; said */
	bool full_said;
	int64_t retry_at; /* after a failure, monotonic */
	uint8_t *pending; /* frames not written yet */
	size_t pending_bytes;
	size_t pending_capacity;
};

enum {
	WARM_HEADER_BYTES = 16,
	WARM_FRAME_BYTES = 8, /* before each record: its size and a checksum */
};

/* warm_file.c */
/* Open the directory and read the file into warm->entries with `take`; sets aside what is of no use. */
void warm_file_read(struct warm *warm,
	bool (*take)(
		void *context, const struct warm_record *record, const uint8_t *payload, size_t size));
/* Append the pending frames, or write all anew. */
void warm_file_write(struct warm *warm);
/* Away with the file, whatever is in it. */
void warm_file_drop(struct warm *warm);
/* The file goes to <name>.damaged-<time>; said with `reason`. */
void warm_file_set_aside(struct warm *warm, const char *reason);
/* Frame a record behind what is pending; false: no memory. */
OTA_MUST_USE bool warm_file_frame(struct warm *warm, const uint8_t *payload, uint32_t size);
