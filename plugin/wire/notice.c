#include "ota/wire/notice.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "ota/wire/json.h"
#include "ota/wire/time.h"

enum {
	NOTICE_FIXED_ROOM = 160, /* what a rendering adds besides the stage: names, integers, a time */
};

struct notice_template {
	/* What was rendered last, and of what. */
	struct notice last; /* payload NULL: nothing yet */
	char *payload;
	char *last_url; /* NULL: the manifest's */
	char *stage;
	int64_t rollout;
	int64_t deadline_s;
	int32_t attempt;
	size_t length;
	size_t url;     /* where the manifest's URL begins in it ... */
	size_t url_end; /* ... and ends */
	char head[];    /* {"version":...,"rollout": and no further; not terminated */
};

static char *append(char *out, const char *text)
{
	size_t length = strlen(text);

	memcpy(out, text, length);
	return out + length;
}

/* A text member: how it starts, and its value, which ends with a quote. */
struct text_member {
	const char *start;
	const char *value; /* NULL: left out */
};

enum ota_err notice_template_make(const struct release *release, struct notice_template **out)
{
	const struct manifest *manifest = release->manifest;
	const struct text_member before_size[] = {
		{ "{\"version\":\"", manifest->terms.version },
		{ ",\"url\":\"", manifest->url },
		{ ",\"sha256\":\"", manifest->sha256 },
	};
	const struct text_member after_size[] = {
		{ ",\"releaseNotes\":\"", manifest->release_notes },
		{ ",\"signature\":\"", release->signature_base64 },
	};
	const size_t before = sizeof(before_size) / sizeof(before_size[0]);
	const size_t after = sizeof(after_size) / sizeof(after_size[0]);
	struct notice_template *notice = NULL;
	/* Room for the fixed parts, among them one integer; the rest is counted. */
	size_t room = 256;
	char digits[32];
	char *at = NULL;

	for (size_t i = 0; i < before; i++) {
		room += json_escaped_length(before_size[i].value);
	}
	for (size_t i = 0; i < after; i++) {
		room += after_size[i].value ? json_escaped_length(after_size[i].value) : 0;
	}
	room += release->envelope ? strlen(release->envelope) : 0;
	notice = malloc(sizeof(*notice) + room);
	if (!notice) {
		return OTA_ERR_NOMEM;
	}
	memset(notice, 0, sizeof(*notice));
	at = notice->head;
	for (size_t i = 0; i < before; i++) {
		at = append(at, before_size[i].start);
		if (before_size[i].value == manifest->url) {
			notice->url = (size_t)(at - notice->head);
			notice->url_end = notice->url + json_escaped_length(manifest->url);
		}
		at = append(json_escape(before_size[i].value, at), "\"");
	}
	(void)snprintf(digits, sizeof(digits), "%" PRId64, manifest->size);
	at = append(append(at, ",\"size\":"), digits);
	for (size_t i = 0; i < after; i++) {
		if (after_size[i].value) {
			at = append(json_escape(after_size[i].value, append(at, after_size[i].start)), "\"");
		}
	}
	if (release->envelope) {
		at = append(append(at, ",\"manifest\":"), release->envelope);
	}
	at = append(at, ",\"rollout\":");
	notice->length = (size_t)(at - notice->head);
	*out = notice;
	return OTA_OK;
}

static void forget_last(struct notice_template *notice)
{
	free(notice->payload);
	free(notice->last_url);
	free(notice->stage);
	notice->payload = NULL;
	notice->last_url = NULL;
	notice->stage = NULL;
	notice->last.payload = NULL;
}

void notice_template_free(struct notice_template *notice)
{
	if (notice) {
		forget_last(notice);
		free(notice);
	}
}

/* The part that all share, with another URL when there is one; returns the end. */
static char *copy_head(const struct notice_template *notice, const char *url, char *out)
{
	if (!url) {
		memcpy(out, notice->head, notice->length);
		return out + notice->length;
	}
	memcpy(out, notice->head, notice->url);
	out = json_escape(url, out + notice->url);
	memcpy(out, notice->head + notice->url_end, notice->length - notice->url_end);
	return out + (notice->length - notice->url_end);
}

/* A text of its own for these; malloc'ed. */
static enum ota_err render(const struct notice_template *notice, const char *url, int64_t rollout,
	int32_t attempt, const char *label, int64_t deadline_ms, char **payload, size_t *length)
{
	char numbers[96];
	char deadline[TIME_TEXT_SIZE];
	size_t room = notice->length + (url ? json_escaped_length(url) : 0) + json_escaped_length(label)
		+ NOTICE_FIXED_ROOM;
	char *text = NULL;
	char *at = NULL;

	/* The header promises it; an envelope and notes within their own limits stay below. */
	if (room > NOTICE_PAYLOAD_MAX) {
		return OTA_ERR_FULL;
	}
	text = malloc(room);
	if (!text) {
		return OTA_ERR_NOMEM;
	}
	(void)snprintf(numbers, sizeof(numbers), "%" PRId64 ",\"attempt\":%" PRId32 ",\"stage\":\"",
		rollout, attempt);
	time_format_rfc3339(deadline_ms, deadline);
	at = append(copy_head(notice, url, text), numbers);
	at = append(json_escape(label, at), "\",\"deadline\":\"");
	at = append(append(at, deadline), "\"}");
	*at = '\0';
	*payload = text;
	*length = (size_t)(at - text);
	return OTA_OK;
}

/* Both NULL, or the same text. */
static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

enum ota_err notice_render(struct notice_template *from, const char *url, int64_t rollout,
	int32_t attempt, const char *stage, int64_t deadline_ms, const struct notice **notice)
{
	const char *label = stage ? stage : "";
	/* Rounded down, below the epoch too. */
	const int64_t deadline_s = deadline_ms / 1000 - (deadline_ms % 1000 < 0 ? 1 : 0);
	enum ota_err err;

	if (from->last.payload && from->rollout == rollout && from->attempt == attempt
		&& from->deadline_s == deadline_s && strcmp(from->stage, label) == 0
		&& same(from->last_url, url)) {
		*notice = &from->last;
		return OTA_OK;
	}
	forget_last(from);
	err =
		render(from, url, rollout, attempt, label, deadline_ms, &from->payload, &from->last.length);
	if (err) {
		return err;
	}
	from->stage = strdup(label);
	from->last_url = url ? strdup(url) : NULL;
	if (!from->stage || (url && !from->last_url)
		|| notice_digest(from->payload, from->last.length, &from->last.digest) != OTA_OK) {
		forget_last(from);
		return OTA_ERR_NOMEM;
	}
	from->rollout = rollout;
	from->attempt = attempt;
	from->deadline_s = deadline_s;
	from->last.payload = from->payload;
	*notice = &from->last;
	return OTA_OK;
}

enum ota_err notice_render_recall(
	int64_t rollout, const char *version, char **payload, size_t *length)
{
	size_t room = json_escaped_length(version) + 96;
	char *text = malloc(room);
	char *at = NULL;
	char digits[32];

	if (!text) {
		return OTA_ERR_NOMEM;
	}
	(void)snprintf(digits, sizeof(digits), "%" PRId64, rollout);
	at = append(append(text, "{\"action\":\"cancel\",\"rollout\":"), digits);
	at = append(json_escape(version, append(at, ",\"version\":\"")), "\"}");
	*at = '\0';
	*payload = text;
	*length = (size_t)(at - text);
	return OTA_OK;
}

enum ota_err notice_digest(const void *payload, size_t length, struct notice_digest *digest)
{
	struct notice_digest made;
	unsigned int size = 0;

	if (!EVP_Digest(length == 0 ? "" : payload, length, made.bytes, &size, EVP_sha256(), NULL)
		|| size != sizeof(made.bytes)) {
		return OTA_ERR_NOMEM;
	}
	*digest = made;
	return OTA_OK;
}

bool notice_digest_equal(const struct notice_digest *a, const struct notice_digest *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}
