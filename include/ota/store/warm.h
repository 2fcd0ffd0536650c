/*
 * warm - what a broker keeps of the database in its state directory, for a start while the database is away.
 *
 * The facts are held in memory and in one file, state_directory/warm.state: a journal to which changes are appended, and which is written
 * anew (a new file, fsync, rename) when it has grown to twice what counts.  Whatever is wrong with the file sets all of it aside: a fact that
 * is missing costs a wait for the database, one that is stale might tell a device what nobody wants any more.
 * A change costs one hash look-up and, with the others of its pass, one write(); nothing here waits for the disk but warm_sync()
 * and the writing anew.
 * Thread: store.  The directory is the outbox's, which has it locked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/base/logring.h"
#include "ota/wire/warm.h"

struct warm;

enum {
	WARM_CLAIMS_MAX = 100000,  /* claims kept; what is beyond waits for the database */
	WARM_FILE_MAX = 256 << 20, /* bytes of a file that is read */
};

/*
 * Read what the file in `directory` has.  It is of use only to the broker of this name at this database (a libpq conninfo string;
 * host, port and name count); another one's is set aside, and so is a damaged one.  The caller frees it; NULL: no memory.
 */
OTA_MUST_USE struct warm *warm_open(
	const char *directory, const char *broker, const char *conninfo, struct logring *log);
/* Writes what is pending; NULL does nothing. */
void warm_close(struct warm *warm);

/* The database says which one it is; when it is not the one that the facts came from, they are set aside. */
void warm_database(struct warm *warm, const char *identity);

/* Keep a fact in place of the earlier one of its key; a `gone` one ends it.  Texts are copied. */
void warm_put(struct warm *warm, const struct warm_record *record);
/* The device's claim is over. */
void warm_claim_over(struct warm *warm, const char *device);
/* All changes so far go to the file.  A file that cannot be written is removed, said once, and tried again later. */
void warm_flush(struct warm *warm);
/* Make what was flushed survive a loss of power. */
void warm_sync(struct warm *warm);

/* When the database was last there, wall clock; 0: never. */
int64_t warm_contact_ms(const struct warm *warm);
/* The fact of this kind with this id (RELEASE, ROLLOUT), of this device (CLAIM), or the only one; its texts stay until it is put again. */
OTA_MUST_USE bool warm_find(const struct warm *warm, enum warm_kind kind, int64_t id,
	const char *device, struct warm_record *record);
/* How many facts of this kind are there. */
size_t warm_count(const struct warm *warm, enum warm_kind kind);
/*
 * Give every fact of a kind to `see`, which may put and end facts of the one that it sees only.  False from it ends the round.
 */
void warm_each(struct warm *warm, enum warm_kind kind,
	bool (*see)(void *context, const struct warm_record *record), void *context);

/* Marks, for comparing with a list: begin, mark what is in it by putting it, then end what was not put since. */
void warm_mark_begin(struct warm *warm);
void warm_mark_end(struct warm *warm, enum warm_kind kind);

/*
 * The parser of the file, pure: gives each record, checked, to `take` (false: no memory).  OTA_ERR_INVALID with what is wrong and where; some
 * records may have been given by then.  *chain receives the checksum that the next record continues.
 */
OTA_MUST_USE enum ota_err warm_image_read(const uint8_t *bytes, size_t length,
	bool (*take)(
		void *context, const struct warm_record *record, const uint8_t *payload, size_t size),
	void *context, uint32_t *chain, struct ota_why *why);
