#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link.h"
#include "source.h"

static CURLM *multi;
static CURL *easy; /* kept: its buffers and connection serve every download */
static char cafile[sizeof(config_text)];
static uint64_t stall_seconds;

/* The transfer at hand. */
static uint64_t wanted_offset;
static bool answered;

bool source_open(const struct config *config)
{
	memcpy(cafile, config->download_cafile, sizeof(cafile));
	stall_seconds = config->stall_seconds;
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	easy = curl_easy_init();
	return multi && easy;
}

/* Of the last answer: those of the redirections before it do not count. */
static const char *header(const char *name)
{
	struct curl_header *found = NULL;

	(void)curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &found);
	return found ? found->value : "";
}

/* Before the first byte, or at the end when there was none. */
static bool begin(void)
{
	uint64_t offset = SOURCE_UNKNOWN;
	uint64_t total = SOURCE_UNKNOWN;
	unsigned long long from = 0;
	long status = 0;
	curl_off_t length = -1;

	if (answered) {
		return true;
	}
	answered = true;
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	if (status == 200) {
		curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
		offset = 0;
		total = length >= 0 ? (uint64_t)length : SOURCE_UNKNOWN;
	} else {
		const char *range = header("Content-Range"); /* "bytes 5-9/10"; either side may be a star */
		const char *whole = strncmp(range, "bytes ", 6) == 0 ? strchr(range, '/') : NULL;

		if (status == 416 || (sscanf(range, "bytes %llu-", &from) == 1 && from == wanted_offset)) {
			offset = wanted_offset;
		}
		total = whole && whole[1] != '*' ? strtoull(whole + 1, NULL, 10) : SOURCE_UNKNOWN;
	}
	const char *validator = header("ETag")[0] ? header("ETag") : header("Last-Modified");

	/* A weak ETag does not promise the same bytes (RFC 9110, 13.1.5). */
	if (strncmp(validator, "W/", 2) == 0 || strlen(validator) >= SOURCE_VALIDATOR_SIZE) {
		validator = "";
	}
	return download_begin(offset, total, validator);
}

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
	(void)user;
	return begin() && download_take(data, size * count) ? size * count : 0;
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
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	if (range[0]) {
		curl_easy_setopt(easy, CURLOPT_RANGE, range);
	}
	if (cafile[0]) {
		curl_easy_setopt(easy, CURLOPT_CAINFO, cafile);
	}
}

static CURLcode transfer(void)
{
	int running = 1;
	int left = 0;

	curl_multi_add_handle(multi, easy);
	while (running && curl_multi_perform(multi, &running) == CURLM_OK && running) {
		struct curl_waitfd broker = { .fd = link_socket(), .events = CURL_WAIT_POLLIN };

		(void)curl_multi_poll(multi, &broker, broker.fd >= 0 ? 1 : 0, 100, NULL);
		if (!download_wait()) {
			break;
		}
	}
	const CURLMsg *message = curl_multi_info_read(multi, &left);
	CURLcode code = message ? message->data.result : CURLE_ABORTED_BY_CALLBACK;

	curl_multi_remove_handle(multi, easy);
	return code;
}

enum source_result source_fetch(
	const char *url, const struct slot *image, uint64_t offset, const char *validator)
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
	(void)image; /* the web server knows a file by its URL */
	wanted_offset = offset;
	answered = false;
	prepare(url, range, offset > 0 && validator[0] ? &condition : NULL);
	CURLcode code = transfer();

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	if (status == 416) { /* nothing from the offset on; the total says whether that is right */
		(void)begin();
		return SOURCE_BROKEN;
	}
	if (status >= 400 && status < 500 && status != 408 && status != 425 && status != 429) {
		return SOURCE_REFUSED;
	}
	return code == CURLE_OK && begin() ? SOURCE_ENDED : SOURCE_BROKEN;
}

bool source_message(const char *topic, const void *data, size_t size)
{
	(void)topic, (void)data, (void)size; /* the broker has nothing to do with a download */
	return false;
}
