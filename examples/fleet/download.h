/*
 * download - firmware over HTTP in range requests, hashed while it streams.
 *
 * A transfer that breaks goes on where it stopped.  libcurl's multi interface works inside the
 * fleet's epoll.  Thread: the fleet's.  Ownership: the device owns its download.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image.h"
#include "notice.h"
#include "options.h"
#include "verify.h"

struct downloads;
struct download;

enum download_event {
	DOWNLOAD_CHUNK,  /* a range arrived, there is more: call download_next() */
	DOWNLOAD_BROKEN, /* the transfer broke and may go on: call download_next() after a pause */
	DOWNLOAD_DONE,   /* everything is there */
	DOWNLOAD_FAILED, /* it cannot succeed; `error` says why */
};

/* Told about one event; it may call download_next() or download_free(). */
typedef void download_callback(void *owner, enum download_event event, enum update_error error);

/* What the epoll's data carries for a socket of libcurl: this bit and the descriptor. */
extern const uint64_t download_epoll_tag;

struct downloads *downloads_open(
	const struct options *options, int epoll, download_callback *callback);
void downloads_close(struct downloads *downloads);

/* A libcurl socket has `events` (of epoll). */
void downloads_on_socket(struct downloads *downloads, int socket, uint32_t events);

/* When downloads_on_time() wants to be called; UINT64_MAX: never. */
uint64_t downloads_due(const struct downloads *downloads);
void downloads_on_time(struct downloads *downloads, uint64_t now);

/* Bytes received by all downloads so far, and bytes of them fetched after a break. */
uint64_t downloads_bytes(const struct downloads *downloads);

struct download_order {
	void *owner;
	const struct notice *notice; /* what to fetch; stays alive as long as the download */
	const char *part;            /* file to write to, or NULL */
	uint64_t *bytes;             /* what arrives is added here */
	uint32_t rate;               /* bytes a second that the device can take; 0: all */
	bool corrupt;                /* change one byte on the way */
};

/* Prepare a download.  NULL when `part` cannot be written. */
struct download *download_create(struct downloads *downloads, const struct download_order *order)
	__attribute__((warn_unused_result));
void download_free(struct download *download);

/* Ask for the next range, which breaks off after `allowed` bytes; UINT64_MAX: it does not. */
void download_next(struct download *download, uint64_t allowed);

/* How long a device with a rate waits before it asks for more: a second's bytes are one range. */
uint32_t download_pause_ms(const struct download *download);

/* Breaks in a row so far, bytes received, and, once done, digest and header of the image. */
uint32_t download_breaks(const struct download *download);
uint64_t download_received(const struct download *download);
const unsigned char *download_digest(const struct download *download);
void download_header(const struct download *download, struct image_header *header);
