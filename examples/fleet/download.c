#include "download.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <utlist.h>

#include "common.h"

const uint64_t download_epoll_tag = UINT64_C(1) << 40;

static const long buffer_size = 4096;

struct downloads {
	const struct options *options;
	CURLM *multi;
	download_callback *callback;
	CURL **idle; /* handles between two transfers, room for all that may run */
	uint32_t idle_count;
	uint32_t running;
	uint32_t limit;
	/*
	 * Those that have to wait for a connection, first come first served.  libcurl could keep them,
	 * but it looks at each of them whenever one ends, and a handle is ten times what a device is.
	 */
	struct download *queue;
	uint64_t due;
	uint64_t bytes;
	int epoll;
};

struct download {
	struct downloads *downloads;
	struct download *prev; /* in the queue */
	struct download *next;
	void *owner;
	const struct notice *notice;
	uint64_t *bytes;
	CURL *easy; /* NULL: it is not running */
	EVP_MD_CTX *hash;
	uint64_t received;
	uint64_t begun_at;    /* `received` when this range was asked for */
	uint64_t range_start; /* what the answer says, from Content-Range */
	uint64_t total;       /* likewise; UINT64_MAX: unknown */
	uint64_t allowed;     /* bytes until this range breaks off; UINT64_MAX: it does not */
	uint32_t rate;
	enum update_error error;
	uint32_t breaks;
	int file; /* -1: none */
	size_t head_size;
	bool waiting;
	bool answered; /* the first bytes of this range's answer have come */
	bool corrupt;
	unsigned char digest[COMMON_SHA256_SIZE];
	char head[IMAGE_HEADER_MAX];
};

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *known)
{
	struct downloads *downloads = user;
	struct epoll_event event = { .data.u64 = download_epoll_tag | (uint32_t)fd };

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		/* The descriptor may be closed already, which took it out of the epoll. */
		(void)epoll_ctl(downloads->epoll, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}
	event.events |= what & CURL_POLL_IN ? EPOLLIN : 0u;
	event.events |= what & CURL_POLL_OUT ? EPOLLOUT : 0u;
	if (epoll_ctl(downloads->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0) {
		(void)epoll_ctl(downloads->epoll, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
	}
	curl_multi_assign(downloads->multi, fd, downloads);
	return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *user)
{
	struct downloads *downloads = user;

	(void)multi;
	downloads->due = timeout_ms < 0 ? UINT64_MAX : common_now_ms() + (uint64_t)timeout_ms;
	return 0;
}

struct downloads *downloads_open(
	const struct options *options, int epoll, download_callback *callback)
{
	struct downloads *downloads = common_alloc(1, sizeof(*downloads));

	*downloads = (struct downloads){
		.options = options,
		.multi = curl_multi_init(),
		.callback = callback,
		.limit = options_downloads_each(options),
		.due = UINT64_MAX,
		.epoll = epoll,
	};
	downloads->idle = common_alloc(downloads->limit, sizeof(CURL *));
	if (!downloads->multi) {
		fputs("mosquitto_ota_fleet: cannot start libcurl\n", stderr);
		exit(EXIT_FAILURE);
	}
	curl_multi_setopt(downloads->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(downloads->multi, CURLMOPT_SOCKETDATA, downloads);
	curl_multi_setopt(downloads->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(downloads->multi, CURLMOPT_TIMERDATA, downloads);
	curl_multi_setopt(downloads->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)downloads->limit);
	return downloads;
}

void downloads_close(struct downloads *downloads)
{
	for (uint32_t i = 0; i < downloads->idle_count; i++) {
		curl_easy_cleanup(downloads->idle[i]);
	}
	curl_multi_cleanup(downloads->multi);
	free(downloads->idle);
	free(downloads);
}

uint64_t downloads_due(const struct downloads *downloads)
{
	return downloads->due;
}

uint64_t downloads_bytes(const struct downloads *downloads)
{
	return downloads->bytes;
}

/* Content-Range: bytes START-END/TOTAL, or bytes * /TOTAL with an answer 416. */
static size_t on_header(char *data, size_t size, size_t count, void *user)
{
	static const char name[] = "content-range: bytes ";
	struct download *download = user;
	size_t length = size * count;
	char text[96] = "";
	char *end = NULL;

	if (length > sizeof(name) - 1 && length < sizeof(text) + sizeof(name) - 1
		&& strncasecmp(data, name, sizeof(name) - 1) == 0) {
		memcpy(text, data + sizeof(name) - 1, length - (sizeof(name) - 1));
		download->range_start = strtoull(text, &end, 10);
		end = strchr(text, '/');
		if (end && end[1] >= '0' && end[1] <= '9') {
			download->total = strtoull(end + 1, NULL, 10);
		}
	}
	return length;
}

static bool restart(struct download *download)
{
	download->received = 0;
	download->head_size = 0;
	return EVP_DigestInit_ex(download->hash, EVP_sha256(), NULL) == 1
		&& (download->file < 0
			|| (ftruncate(download->file, 0) == 0 && lseek(download->file, 0, SEEK_SET) == 0));
}

/* The first bytes of an answer: does it continue where we are? */
static bool check_answer(struct download *download)
{
	long code = 0;

	download->answered = true;
	curl_easy_getinfo(download->easy, CURLINFO_RESPONSE_CODE, &code);
	if (code == 206) {
		return download->range_start == download->received;
	}
	/* A server without ranges sends everything again. */
	return code == 200 && (download->received == 0 || restart(download));
}

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
	struct download *download = user;
	size_t length = size * count;

	if (!download->answered && !check_answer(download)) {
		return 0;
	}
	if (length > download->allowed) {
		length = (size_t)download->allowed; /* fewer than came: libcurl ends the transfer */
	}
	if (length > download->notice->size - download->received) {
		download->error = UPDATE_SIZE_MISMATCH;
		return 0;
	}
	if (download->corrupt && download->received == 0 && length > 0) {
		data[length - 1] = (char)(data[length - 1] ^ 1);
	}
	if (download->head_size < sizeof(download->head)) {
		size_t room = sizeof(download->head) - download->head_size;
		size_t part = length < room ? length : room;

		memcpy(download->head + download->head_size, data, part);
		download->head_size += part;
	}
	if (EVP_DigestUpdate(download->hash, data, length) != 1) {
		return 0;
	}
	if (download->file >= 0 && write(download->file, data, length) != (ssize_t)length) {
		download->error = UPDATE_SLOT_WRITE_FAILED;
		return 0;
	}
	download->received += length;
	download->allowed -= download->allowed == UINT64_MAX ? 0 : length;
	download->downloads->bytes += length;
	*download->bytes += length;
	return length;
}

/* A handle for one transfer; it goes back with release(). */
static void acquire(struct download *download)
{
	struct downloads *downloads = download->downloads;
	const struct options *options = downloads->options;
	CURL *easy =
		downloads->idle_count > 0 ? downloads->idle[--downloads->idle_count] : curl_easy_init();

	if (!easy) {
		fputs("mosquitto_ota_fleet: out of memory\n", stderr);
		exit(EXIT_FAILURE);
	}
	download->easy = easy;
	downloads->running++;
	curl_easy_setopt(easy, CURLOPT_URL, download->notice->url);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, download);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, download);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, download);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(easy, CURLOPT_MAXREDIRS, 3L);
	curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, buffer_size);
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*"); /* a device knows nothing of our environment */
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, 10L);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, 20L);
	if (options->http_cafile) {
		curl_easy_setopt(easy, CURLOPT_CAINFO, options->http_cafile);
	}
}

/* The transfer is over or given up. */
static void release(struct download *download)
{
	struct downloads *downloads = download->downloads;

	curl_multi_remove_handle(downloads->multi, download->easy);
	curl_easy_reset(download->easy);
	downloads->idle[downloads->idle_count++] = download->easy;
	downloads->running--;
	download->easy = NULL;
}

struct download *download_create(struct downloads *downloads, const struct download_order *order)
{
	struct download *download = common_alloc(1, sizeof(*download));

	*download = (struct download){
		.downloads = downloads,
		.owner = order->owner,
		.notice = order->notice,
		.bytes = order->bytes,
		.rate = order->rate,
		.hash = EVP_MD_CTX_new(),
		.file = -1,
		.corrupt = order->corrupt,
	};
	if (order->part) {
		download->file = open(order->part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	}
	if (!download->hash || !restart(download) || (order->part && download->file < 0)) {
		download_free(download);
		return NULL;
	}
	return download;
}

void download_free(struct download *download)
{
	if (!download) {
		return;
	}
	if (download->waiting) {
		DL_DELETE(download->downloads->queue, download);
	}
	if (download->easy) {
		release(download);
	}
	EVP_MD_CTX_free(download->hash);
	if (download->file >= 0) {
		close(download->file);
	}
	free(download);
}

/* Bytes of one range. */
static uint64_t chunk_of(const struct download *download)
{
	const uint64_t chunk = download->downloads->options->chunk;

	return download->rate > 0 && download->rate < chunk ? download->rate : chunk;
}

uint32_t download_pause_ms(const struct download *download)
{
	return download->rate > 0 ? (uint32_t)(chunk_of(download) * 1000 / download->rate) : 0;
}

static void start(struct download *download)
{
	char range[64] = "";
	uint64_t last = download->notice->size - 1;

	if (last - download->received >= chunk_of(download)) {
		last = download->received + chunk_of(download) - 1;
	}
	acquire(download);
	(void)snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)download->received,
		(unsigned long long)last);
	curl_easy_setopt(download->easy, CURLOPT_RANGE, range);
	download->begun_at = download->received;
	download->range_start = UINT64_MAX;
	download->total = UINT64_MAX;
	download->answered = false;
	curl_multi_add_handle(download->downloads->multi, download->easy);
}

static void start_waiting(struct downloads *downloads)
{
	while (downloads->queue && downloads->running < downloads->limit) {
		struct download *next = downloads->queue;

		DL_DELETE(downloads->queue, next);
		next->waiting = false;
		start(next);
	}
}

void download_next(struct download *download, uint64_t allowed)
{
	download->allowed = allowed;
	download->waiting = true;
	DL_APPEND(download->downloads->queue, download);
	start_waiting(download->downloads);
}

static enum download_event fail(struct download *download, enum update_error error)
{
	download->error = error;
	return DOWNLOAD_FAILED;
}

/* A range ended with `result`: what now? */
static enum download_event judge(struct download *download, CURLcode result)
{
	const uint64_t size = download->notice->size;
	bool finished = result == CURLE_OK;
	long code = 0;

	curl_easy_getinfo(download->easy, CURLINFO_RESPONSE_CODE, &code);
	if (download->error != UPDATE_OK) {
		return DOWNLOAD_FAILED;
	}
	if (download->total != UINT64_MAX && download->total != size) {
		return fail(download, UPDATE_SIZE_MISMATCH);
	}
	if (result == CURLE_HTTP_RETURNED_ERROR && code >= 400 && code < 500) {
		return fail(download, UPDATE_DOWNLOAD_FAILED);
	}
	if (finished && code == 200 && download->received != size) {
		return fail(download, UPDATE_SIZE_MISMATCH);
	}
	if (finished && download->received == size) {
		unsigned int length = 0;

		if (EVP_DigestFinal_ex(download->hash, download->digest, &length) != 1
			|| (download->file >= 0 && fsync(download->file) != 0)) {
			return fail(download, UPDATE_SLOT_WRITE_FAILED);
		}
		return DOWNLOAD_DONE;
	}
	if (download->received > download->begun_at) {
		download->breaks = 0;
	}
	if (finished && download->received > download->begun_at) {
		return DOWNLOAD_CHUNK;
	}
	if (download->breaks++ >= download->downloads->options->download_retries) {
		return fail(download, UPDATE_DOWNLOAD_FAILED);
	}
	return DOWNLOAD_BROKEN;
}

static void collect_finished(struct downloads *downloads)
{
	CURLMsg *message = NULL;
	int left = 0;

	while ((message = curl_multi_info_read(downloads->multi, &left))) {
		struct download *download = NULL;

		if (message->msg != CURLMSG_DONE) {
			continue;
		}
		CURLcode result = message->data.result; /* gone once the handle is removed */

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &download);

		enum download_event event = judge(download, result);

		release(download);
		downloads->callback(download->owner, event, download->error);
	}
	start_waiting(downloads);
}

void downloads_on_socket(struct downloads *downloads, int socket, uint32_t events)
{
	int mask = 0;
	int running = 0;

	mask |= events & EPOLLIN ? CURL_CSELECT_IN : 0;
	mask |= events & EPOLLOUT ? CURL_CSELECT_OUT : 0;
	mask |= events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0;
	curl_multi_socket_action(downloads->multi, socket, mask, &running);
	collect_finished(downloads);
}

void downloads_on_time(struct downloads *downloads, uint64_t now)
{
	int running = 0;

	if (now >= downloads->due) {
		downloads->due = UINT64_MAX;
		curl_multi_socket_action(downloads->multi, CURL_SOCKET_TIMEOUT, 0, &running);
		collect_finished(downloads);
	}
}

uint32_t download_breaks(const struct download *download)
{
	return download->breaks;
}

uint64_t download_received(const struct download *download)
{
	return download->received;
}

const unsigned char *download_digest(const struct download *download)
{
	return download->digest;
}

void download_header(const struct download *download, struct image_header *header)
{
	image_parse_header(download->head, download->head_size, header);
}
