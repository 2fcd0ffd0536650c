/*
 * firmware - the images in plugin_opt_firmware_directory, read by a thread of their own.
 *
 * A file is found by what is in it: any regular file of the directory itself (symbolic links and names that begin with a dot are not
 * looked at) whose size and SHA-256 are those of the verified manifest.  Both are checked before the first byte is read for anybody, and
 * again when the file has changed (device, inode, size, times, or its name is gone).  Hashing is done in slices between reads, so that a
 * new image holds nobody up.
 *
 * Broker's thread: firmware_start, firmware_submit, firmware_take, firmware_stop.  Nothing of them waits for the disk, but
 * firmware_stop() for the read that goes on.  The thread calls no mosquitto_* function; it has a table of open files of its own.
 */
#pragma once

#include <stddef.h>

#include "ota/base/error.h"
#include "ota/base/logring.h"
#include "ota/wire/block.h"

enum {
	FIRMWARE_JOBS_MAX = 1024, /* submitted and not taken back */
	FIRMWARE_IMAGES_MAX =
		32, /* looked for or open at the same time; the one used least recently goes */
	FIRMWARE_FILES_MAX = 1024, /* files whose SHA-256 is remembered */
};

struct firmware;

/*
 * Start the thread.  A directory that cannot be read is logged and no error: it may be mounted later.  `directory` and `log` outlive the
 * service.
 */
OTA_MUST_USE enum ota_err firmware_start(
	const char *directory, struct logring *log, struct firmware **firmware, struct ota_why *why);

/* Do this job, soon; it stays the caller's, and is left alone until firmware_take() gives it back.  OTA_ERR_FULL. */
OTA_MUST_USE enum ota_err firmware_submit(void *firmware, struct block_job *job);

/* A job that is done, the oldest first; NULL: none is. */
struct block_job *firmware_take(void *firmware);

/* End the thread and free; jobs that were not taken back are the caller's again.  NULL does nothing. */
void firmware_stop(struct firmware *firmware);
