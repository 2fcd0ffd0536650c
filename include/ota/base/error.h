/*
 * error - the error codes of every layer, and the reason that goes with one.
 *
 * Thread: any.  Nothing here allocates.
 */
#pragma once

#include <stddef.h>

#define OTA_MUST_USE          __attribute__((warn_unused_result))
#define OTA_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum ota_err {
	OTA_OK = 0,
	OTA_ERR_INVALID,     /* the input breaks a rule; it will never work */
	OTA_ERR_NOMEM,       /* out of memory */
	OTA_ERR_IO,          /* the system refused a file or socket operation */
	OTA_ERR_FULL,        /* a bounded thing is full; it may work later */
	OTA_ERR_NOT_FOUND,   /* the named thing does not exist */
	OTA_ERR_DENIED,      /* not allowed, or a signature does not verify */
	OTA_ERR_TIMEOUT,     /* a deadline passed */
	OTA_ERR_UNAVAILABLE, /* a service is away; it may work later */
	OTA_ERR_CONFLICT,    /* somebody else holds it, or a newer one exists */
	OTA_ERR_STATE,       /* not possible in the present state */
};

/* One line for people: what, which value, what is accepted.  Lower case, no full stop. */
struct ota_why {
	char text[512];
};

/* Write the reason, cut to the size of the buffer; `why` may be NULL. */
void ota_why_set(struct ota_why *why, const char *format, ...) OTA_PRINTF(2, 3);

/* The name of an error code, for logs: "invalid", "no memory", ...  Never NULL. */
const char *ota_err_name(enum ota_err err);
