/*
 * outbox_fuzz - any bytes as a segment file of the outbox: opened, read, continued, read again.
 *
 * The first byte chooses what else is there: a position file (the last 56 bytes of the input, or none)
 * and whether the checksums of the bytes are made right first, so that what they say is believed.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ota/store/outbox.h"

#include "../../plugin/store/outbox_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[64];

static void remove_files(void)
{
	DIR *files = opendir(directory);
	const struct dirent *entry;
	while (files != NULL && (entry = readdir(files)) != NULL) {
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(files), entry->d_name, 0);
	}
	if (files != NULL)
		(void)closedir(files);
}

static void remove_directory(void)
{
	remove_files();
	(void)rmdir(directory);
}

static void store(const char *name, const uint8_t *data, size_t size)
{
	char path[128];
	(void)snprintf(path, sizeof path, "%s/%s", directory, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	(void)close(fd);
}

/* Puts the right checksums where the format has them, as far as the bytes can be followed. */
static void make_right(uint8_t *data, size_t size)
{
	struct outbox_segment_header header;
	struct outbox_record_header record;
	if (size < sizeof header)
		return;
	memcpy(&header, data, sizeof header);
	header.crc = outbox_crc(0, &header, offsetof(struct outbox_segment_header, crc));
	memcpy(data, &header, sizeof header);
	for (size_t at = sizeof header; size - at >= sizeof record;) {
		memcpy(&record, data + at, sizeof record);
		if (record.size > size - at - sizeof record)
			return;
		record.crc = outbox_crc(
			0, data + at + sizeof record.crc, sizeof record - sizeof record.crc + record.size);
		memcpy(data + at, &record, sizeof record.crc);
		uint64_t step = outbox_record_bytes(record.size);
		if (step > size - at)
			return;
		at += (size_t)step;
	}
}

/* Opens, reads all, and appends one behind one that waits; the numbers must rise, and both must come back. */
static void use(const struct outbox_options *options, uint64_t database)
{
	struct outbox *outbox = NULL;
	struct outbox_batch batch;
	uint64_t last = 0;
	uint64_t appended = 0;
	if (outbox_open(options, &outbox, NULL) != OTA_OK)
		return;
	if (outbox_skip_to(outbox, database, NULL) != OTA_OK)
		abort();
	enum ota_err err = outbox_gather(outbox, "waits", 5, NULL);
	const bool waits = err == OTA_OK;
	if (err == OTA_OK || err == OTA_ERR_STATE) /* the numbers in the file may be at the end */
		err = outbox_append(outbox, "event", 5, &appended, NULL);
	if (err == OTA_ERR_STATE && outbox_flush(outbox, NULL) != OTA_OK)
		abort();
	if (err != OTA_OK && err != OTA_ERR_STATE)
		abort();
	unsigned waited = 0;
	do {
		if (outbox_read(outbox, &batch, 100, 65536, NULL) != OTA_OK)
			abort();
		for (size_t i = 0; i < batch.count; i++) {
			if (batch.records[i].sequence <= last || batch.records[i].size < 1)
				abort();
			last = batch.records[i].sequence;
			waited = batch.records[i].size == 5 && memcmp(batch.records[i].data, "waits", 5) == 0
				? waited + 1
				: waited;
		}
	} while (batch.count > 0);
	if ((err == OTA_OK && last != appended) || (waits && waited < 1))
		abort();
	if (last > 0 && outbox_commit(outbox, last, NULL) != OTA_OK)
		abort();
	outbox_close(outbox);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum {
		POSITION_BYTES = 56
	};
	if (size < 1)
		return 0;
	if (directory[0] == '\0') {
		(void)snprintf(directory, sizeof directory, "%s",
			access("/dev/shm", W_OK) == 0 ? "/dev/shm/outbox-fuzz-XXXXXX"
										  : "/tmp/outbox-fuzz-XXXXXX");
		if (mkdtemp(directory) == NULL || atexit(remove_directory) != 0)
			abort();
	}
	const struct outbox_options options = { .directory = directory,
		.max_bytes = OUTBOX_BYTES_MIN * 4 };
	uint8_t choice = data[0];
	data++;
	size--;
	remove_files();
	if ((choice & 1) != 0)
		use(&options, 0); /* leaves a position file and a good segment */
	if ((choice & 2) != 0 && size >= POSITION_BYTES) {
		uint8_t position[POSITION_BYTES];
		memcpy(position, data + size - POSITION_BYTES, POSITION_BYTES);
		uint32_t crc = outbox_crc(0, position, POSITION_BYTES - sizeof crc);
		if ((choice & 4) != 0)
			memcpy(position + POSITION_BYTES - sizeof crc, &crc, sizeof crc);
		store("outbox.position", position, POSITION_BYTES);
		size -= POSITION_BYTES;
	}
	uint8_t *copy = malloc(size + 1);
	if (copy == NULL)
		return 0;
	memcpy(copy, data, size);
	if ((choice & 4) != 0)
		make_right(copy, size);
	store("outbox-0000000000000001.log", copy, size);
	free(copy);
	use(&options, choice >> 3);
	use(&options, choice >> 3);
	return 0;
}
