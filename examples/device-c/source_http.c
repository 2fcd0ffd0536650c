#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "source.h"

static CURLM *multi;
static CURL *easy; /* kept: its buffers and connection serve every download */
static char cafile[sizeof(config_text)];
static uint64_t stall_seconds;

/* The transfer at hand. */
static const struct source_callbacks *callbacks;
static uint64_t wanted_offset;
static struct source_answer answer;
static bool answered, has_weak_etag;

bool source_open(const struct config *config)
{
	memcpy(cafile, config->download_cafile, sizeof(cafile));
	stall_seconds = config->stall_seconds;
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	easy = curl_easy_init();
	return multi && easy;
}

/* The value of the header `name`, in `line`; NULL: it is another one. */
static const char *value_of(const char *line, const char *name)
{
	size_t length = strlen(name);

	return strncasecmp(line, name, length) == 0 ? line + length + strspn(line + length, " ") : NULL;
}

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
	char line[SOURCE_VALIDATOR_SIZE + 32] = "";
	const char *value = NULL;

	(void)user;
	if (size * count < sizeof(line)) {
		memcpy(line, data, size * count);
		line[strcspn(line, "\r\n")] = '\0';
	}
	if (strncmp(line, "HTTP/", 5) == 0) { /* a redirection's answer before ours does not count */
		answer = (struct source_answer){ .offset = SOURCE_UNKNOWN, .total = SOURCE_UNKNOWN };
		has_weak_etag = false;
	} else if ((value = value_of(line, "Content-Range: bytes")) != NULL) {
		const char *total = strchr(value, '/');

		answer.offset =
			value[0] >= '0' && value[0] <= '9' ? strtoull(value, NULL, 10) : SOURCE_UNKNOWN;
		answer.total = total && total[1] != '*' ? strtoull(total + 1, NULL, 10) : SOURCE_UNKNOWN;
	} else if ((value = value_of(line, "ETag:")) != NULL
		|| ((value = value_of(line, "Last-Modified:")) != NULL && !answer.validator[0]
			&& !has_weak_etag)) {
		/* A weak ETag does not promise the same bytes (RFC 9110, 13.1.5). */
		has_weak_etag = has_weak_etag || value[0] == 'W';
		(void)snprintf(
			answer.validator, sizeof(answer.validator), "%.255s", value[0] == 'W' ? "" : value);
	}
	return size * count;
}

/* Before the first byte, or at the end when there was none. */
static bool begin(void)
{
	long status = 0;
	curl_off_t length = -1;

	if (answered) {
		return true;
	}
	answered = true;
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	if (status == 200) {
		answer.offset = 0;
		answer.total = length >= 0 ? (uint64_t)length : SOURCE_UNKNOWN;
	} else if (status == 206 && answer.offset != wanted_offset) {
		answer.offset = SOURCE_UNKNOWN; /* not the part that was asked for, or it does not say */
	}
	return callbacks->on_answer(&answer);
}

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
	(void)user;
	return begin() && callbacks->on_data(data, size * count) ? size * count : 0;
}

static void prepare(const char *url, const char *range, struct curl_slist *headers)
{
	curl_easy_reset(easy);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(easy, CURLOPT_MAXREDIRS, 5L);
	curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)stall_seconds);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)stall_seconds);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	if (range[0]) {
		curl_easy_setopt(easy, CURLOPT_RANGE, range);
	}
	if (cafile[0]) {
		curl_easy_setopt(easy, CURLOPT_CAINFO, cafile);
	}
}

static CURLcode transfer(int wake)
{
	struct curl_waitfd also = { .fd = wake, .events = CURL_WAIT_POLLIN };
	CURLcode code = CURLE_OK;
	int running = 1;

	curl_multi_add_handle(multi, easy);
	while (running && curl_multi_perform(multi, &running) == CURLM_OK && running) {
		(void)curl_multi_poll(multi, &also, wake >= 0 ? 1 : 0, 100, NULL);
		if (!callbacks->on_wait()) {
			break;
		}
	}
	int left = 0;
	const CURLMsg *message = curl_multi_info_read(multi, &left);

	code = message ? message->data.result : CURLE_ABORTED_BY_CALLBACK;
	curl_multi_remove_handle(multi, easy);
	return code;
}

enum source_result source_fetch(const struct source_image *image, uint64_t offset,
	const char *validator, int wake, const struct source_callbacks *calls)
{
	char header[SOURCE_VALIDATOR_SIZE + 16] = "";
	char range[32] = "";
	long status = 0;
	struct curl_slist condition = { header, NULL }; /* a list of one, without an allocation */

	if (offset > 0) {
		(void)snprintf(range, sizeof(range), "%llu-", (unsigned long long)offset);
		/* "Go on, if it is still the same file; else all of it": no bytes of two files get mixed. */
		(void)snprintf(header, sizeof(header), "If-Range: %s", validator);
	}
	callbacks = calls;
	wanted_offset = offset;
	answer = (struct source_answer){ .total = SOURCE_UNKNOWN };
	answered = false;
	prepare(image->url, range, offset > 0 && validator[0] ? &condition : NULL);
	CURLcode code = transfer(wake);

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	if (status
		== 416) { /* nothing there from the offset on; the total says whether that is right */
		answer.offset = offset;
		(void)begin();
		return SOURCE_BROKEN;
	}
	if (status >= 400 && status < 500 && status != 408 && status != 425 && status != 429) {
		return SOURCE_REFUSED;
	}
	return code == CURLE_OK && begin() ? SOURCE_ENDED : SOURCE_BROKEN;
}
