/*
 * credentials - access keys of object stores, from the operator's file (plugin_opt_url_credentials).
 *
 * The file has the form of AWS's shared credentials file: a line [name], and below it aws_access_key_id, aws_secret_access_key and
 * region, each `name = value`; lines that begin with # or ; are comments.  Secrets stay in this process: no reason shows a value.
 * Thread: any.  The credentials are one owned object; free it with credentials_free(), which wipes it.
 */
#pragma once

#include <stddef.h>

#include "ota/base/error.h"

enum {
	CREDENTIALS_FILE_MAX = 65536, /* bytes */
	CREDENTIALS_MAX = 64,         /* in one file */
	CREDENTIAL_NAME_MAX = 64,     /* bytes: letters, digits, '.', '_', '-' */
	CREDENTIAL_KEY_ID_MAX = 128,  /* printable ASCII without blanks and '/' */
	CREDENTIAL_SECRET_MAX = 256,  /* printable ASCII without blanks */
	CREDENTIAL_REGION_MAX = 64,   /* letters, digits, '_', '-' */
};

struct credential {
	char name[CREDENTIAL_NAME_MAX + 1];
	char key_id[CREDENTIAL_KEY_ID_MAX + 1];
	char secret[CREDENTIAL_SECRET_MAX + 1];
	char region[CREDENTIAL_REGION_MAX + 1];
};

struct credentials {
	size_t count; /* 1 .. CREDENTIALS_MAX */
	struct credential items[CREDENTIALS_MAX];
};

/*
 * Parse the text of such a file (any bytes; need not be terminated).  OTA_ERR_INVALID: the reason names the line or the credential and what
 * is accepted; OTA_ERR_NOMEM.
 */
OTA_MUST_USE enum ota_err credentials_parse(
	const char *text, size_t length, struct credentials **out, struct ota_why *why);

/*
 * Read the file.  It must be a regular one, of root or of the user this process runs as, closed to others and not writable by its group: modes
 * 0600, 0640 and narrower.  OTA_ERR_INVALID also for that; OTA_ERR_IO: it cannot be read; OTA_ERR_NOMEM.
 */
OTA_MUST_USE enum ota_err credentials_read(
	const char *path, struct credentials **out, struct ota_why *why);

/* NULL: there is none of this name, or there are no credentials (`credentials` may be NULL). */
const struct credential *credentials_find(const struct credentials *credentials, const char *name);

/* NULL is fine. */
void credentials_free(struct credentials *credentials);
