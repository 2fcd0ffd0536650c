/*
 * Heads of the audit log's chains, kept where the database's owner does not reach: in the state directory, under $SYS and in
 * the log.  What they are good for is in docs/design/audit.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "ota/base/clock.h"
#include "ota/wire/change.h"

#include "outbox_internal.h"
#include "store_internal.h"

enum {
	NOTE_MS = 60000,
	LOG_MS = 3600000,
	HEADS_MAX = 16384, /* bytes; fifty chains with long names need less */
};

static const char file_name[] = "audit-heads";

static void path_of(const struct store *store, const char *suffix, char *path, size_t size)
{
	(void)snprintf(path, size, "%s/%s%s", store->options->state_directory, file_name, suffix);
}

/* What was noted before the restart.  A missing or damaged file is as good as none: it is written anew. */
static void read_noted(struct store *store)
{
	char path[4200];
	char text[HEADS_MAX];
	ssize_t length;
	cJSON *json;
	int fd;

	path_of(store, "", path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		return;
	}
	length = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[length > 0 ? length : 0] = '\0';
	json = cJSON_Parse(text);
	if (cJSON_IsObject(json)) {
		store->audit_heads = strdup(text);
	} else {
		logring_printf(store->log, LOG_LEVEL_WARNING,
			"'%s' is not readable: what the audit log was before the restart is not known here",
			path);
	}
	cJSON_Delete(json);
}

static void write_noted(struct store *store)
{
	const size_t length = strlen(store->audit_heads);
	char temporary[4200];
	char path[4200];
	bool written = false;
	int code;
	int fd;

	path_of(store, "", path, sizeof(path));
	path_of(store, ".new", temporary, sizeof(temporary));
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		ssize_t n = write(fd, store->audit_heads, length);

		if (n >= 0 && n != (ssize_t)length) {
			errno = ENOSPC;
		}
		written = n == (ssize_t)length;
		code = errno;
		(void)close(fd);
		errno = code;
	}
	written = written && rename(temporary, path) == 0;
	if (!written && !store->audit_unwritten) {
		logring_printf(store->log, LOG_LEVEL_WARNING,
			"cannot write '%s': %s; a restart will not know how far the audit log was", path,
			outbox_errno_text(errno));
	}
	store->audit_unwritten = !written;
}

/* One line a chain, with the statement that checks it later. */
static void log_heads(struct store *store)
{
	cJSON *json = cJSON_Parse(store->audit_heads);
	const cJSON *head;

	cJSON_ArrayForEach(head, cJSON_GetObjectItemCaseSensitive(json, "heads")) {
		const char *chain = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(head, "chain"));
		const char *hash = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(head, "hash"));
		const cJSON *position = cJSON_GetObjectItemCaseSensitive(head, "position");

		if (chain && hash && cJSON_IsNumber(position)) {
			logring_printf(store->log, LOG_LEVEL_NOTICE,
				"audit log as of now: SELECT * FROM ota.verify_audit('%s', %" PRId64 ", '%s')",
				chain, (int64_t)position->valuedouble, hash);
		}
	}
	cJSON_Delete(json);
}

static void publish_heads(struct store *store)
{
	struct change *change = change_new(CHANGE_AUDIT);

	if (change) {
		change->text = strdup(store->audit_heads);
		if (!queue_push(store->changes, change)) {
			change_free(change);
		}
	}
}

enum ota_err audit_note(struct store *store, struct ota_why *why)
{
	const int64_t now = clock_mono_ms();
	const char *values[2];
	PGresult *result = NULL;
	enum ota_err err;

	if (store->audit_at == 0 && !store->audit_heads) {
		read_noted(store);
	}
	if (now < store->audit_at) {
		return OTA_OK;
	}
	values[0] = store->options->broker_name;
	values[1] = store->audit_heads;
	err = pg_exec(&store->pg, "SELECT heads, problem FROM ota.broker_audit_heads($1, $2)", 2,
		values, &result, why);
	if (err == OTA_ERR_UNAVAILABLE || err == OTA_ERR_TIMEOUT || err == OTA_ERR_CONFLICT) {
		return err;
	}
	store->audit_at = now + NOTE_MS;
	if (err || PQntuples(result) != 1 || !pg_text(result, 0, 0)) {
		/* Such as a file with strange numbers in it.  Updates do not wait for that; the next try is without it. */
		logring_printf(store->log, LOG_LEVEL_WARNING, "heads of the audit log: %s",
			err ? why->text : "no answer");
		free(store->audit_heads);
		store->audit_heads = NULL;
		PQclear(result);
		return OTA_OK;
	}
	if (pg_text(result, 0, 1)) {
		logring_printf(store->log, LOG_LEVEL_ERROR,
			"the audit log is not what it was; look with ota.verify_audit(): %s",
			pg_text(result, 0, 1));
	}
	free(store->audit_heads);
	store->audit_heads = strdup(pg_text(result, 0, 0));
	PQclear(result);
	if (!store->audit_heads) {
		return OTA_OK;
	}
	write_noted(store);
	publish_heads(store);
	if (now >= store->audit_log_at) {
		log_heads(store);
		store->audit_log_at = now + LOG_MS;
	}
	return OTA_OK;
}
