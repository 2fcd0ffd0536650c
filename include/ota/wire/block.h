/*
 * block - a part of an image over MQTT: what a device asks, what it is answered, and what crosses between the gate and the thread
 * that reads files.
 *
 * The answer is a header of 16 bytes, integers in network byte order, and with BLOCK_OK the bytes:
 *
 *     0  version, 1
 *     1  status, enum block_status
 *     2  seconds after which asking again makes sense, 2 bytes; 0: at once, or never
 *     4  length, 4 bytes
 *     8  offset, 8 bytes
 *
 * Thread: any.
 * Source: docs/protocol.md, "Without HTTP".
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

enum {
	BLOCK_REQUEST_MAX = 512, /* bytes of JSON */
	BLOCK_HEADER = 16,
	BLOCK_VERSION = 1,
	BLOCK_SHA256 = 65, /* hex and a zero byte */
};

enum block_status {
	BLOCK_OK = 0,        /* the bytes follow */
	BLOCK_MALFORMED = 1, /* the request is not one */
	BLOCK_DENIED = 2,    /* not this device, not this image, or not now */
	BLOCK_RANGE = 3,     /* behind the end, or too long */
	BLOCK_LATER = 4,     /* not known or not ready yet */
	BLOCK_MISSING = 5,   /* the operator has to put the file there */
};

struct block_request {
	char sha256[BLOCK_SHA256]; /* lower case */
	int64_t offset;            /* 0 or more */
	int64_t length;            /* 1 or more */
};

/*
 * Parse {"sha256","offset","length"}; other members are ignored.  OTA_ERR_INVALID: the reason names the member, its value and what is
 * accepted; OTA_ERR_NOMEM.  `request` is set on OTA_OK only.
 */
OTA_MUST_USE enum ota_err block_request_parse(
	const char *payload, size_t length, struct block_request *request, struct ota_why *why);

struct block_header {
	enum block_status status;
	uint16_t retry_after; /* seconds */
	/* OK: how many bytes follow; RANGE: the longest that is accepted, when that is what is wrong; else as asked, or 0 */
	uint32_t length;
	uint64_t
		offset; /* OK: of the first byte; RANGE: the image's size, when that is what is wrong; else as asked, or 0 */
};

void block_header_write(const struct block_header *header, uint8_t out[BLOCK_HEADER]);

/*
 * Work for the thread that reads files: check a file, and read from it.  It belongs to whoever made it; between handing it over and
 * getting it back only the reading thread touches it.
 */
struct block_job {
	/* The image, as the verified manifest names it. */
	char sha256[BLOCK_SHA256];
	char version[64]; /* cut, for the log */
	int64_t size;
	/* What to read, inside the image; a length of 0: nothing, but look for the file. */
	int64_t offset;
	uint32_t length;
	uint8_t *data; /* room for `length` bytes */
	/* Set when it comes back: OK, LATER or MISSING. */
	enum block_status status;
};
