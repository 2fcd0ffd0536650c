#include "download.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "json.h"
#include "platform.h"
#include "source.h"

static const uint64_t pause_max_ms = 60000;

/* The download at hand: there is one flash, so there is one. */
static const struct notice *wanted;
static char validator[SOURCE_VALIDATOR_SIZE];
static uint64_t received;
static bool pieced; /* of bytes that came at different times */
static const char *problem;

static void remember(void)
{
	json_begin();
	cJSON *about = cJSON_CreateObject();

	cJSON_AddStringToObject(about, "sha256", wanted->image.sha256);
	cJSON_AddStringToObject(about, "validator", validator);
	if (json_write_record("download", about) == PLATFORM_FULL) {
		problem = "NO_SPACE";
	}
}

static void start_over(const char *new_validator)
{
	(void)snprintf(validator, sizeof(validator), "%s", new_validator);
	received = 0;
	pieced = false;
	if (!platform_part_empty()) {
		problem = "SLOT_WRITE_FAILED";
	}
	remember();
}

/* Go on with what is there of an earlier attempt, if it is of this file. */
static void resume(void)
{
	char sha256[SHA256_HEX_SIZE] = "";
	int64_t length = platform_part_open();

	json_begin();
	const cJSON *about = json_read_record("download");

	if (length < 0) {
		problem = "SLOT_WRITE_FAILED";
	} else if (!json_copy(about, "sha256", sha256, sizeof(sha256))
		|| strcmp(sha256, wanted->image.sha256) != 0 || (uint64_t)length > wanted->image.size
		|| !json_copy(about, "validator", validator, sizeof(validator))) {
		start_over("");
	} else {
		received = (uint64_t)length;
		pieced = received > 0;
	}
}

bool download_begin(uint64_t offset, uint64_t total, const char *now_valid)
{
	if (total != SOURCE_UNKNOWN && total != wanted->image.size) {
		problem = "SIZE_MISMATCH";
	} else if (offset == 0) {
		if (received > 0 || strcmp(validator, now_valid) != 0) {
			start_over(now_valid); /* no ranges, or another file: everything comes again */
		}
	} else if (offset != received
		|| (validator[0] && now_valid[0] && strcmp(validator, now_valid) != 0)) {
		start_over("");
		return false;
	}
	pieced = pieced || received > 0;
	return !problem;
}

bool download_take(const void *data, size_t size)
{
	/* Checked before it is written: a server cannot fill the flash. */
	if (size > wanted->image.size - received) {
		problem = "SIZE_MISMATCH";
		return false;
	}
	enum platform_result result = platform_part_append(data, size);

	if (result != PLATFORM_OK) {
		problem = result == PLATFORM_FULL ? "NO_SPACE" : "SLOT_WRITE_FAILED";
		return false;
	}
	received += size;
	agent_progress(received);
	return true;
}

bool download_wait(void)
{
	if (!problem && !agent_poll()) {
		problem = "";
	}
	return !problem;
}

static void wait_ms(uint64_t ms)
{
	const uint64_t end = platform_now_ms() + ms;

	while (download_wait() && platform_now_ms() < end) {
		platform_sleep_ms(10);
	}
}

/* Doubling, and never the same for all devices that lost the same server. */
static uint64_t back_off_ms(const struct config *config, uint64_t failures)
{
	uint64_t longest = config->backoff_ms << (failures < 16 ? failures - 1 : 15);

	longest = longest < pause_max_ms ? longest : pause_max_ms;
	return longest / 2 + platform_random() % (longest / 2 + 1);
}

/* Read back: what counts is what is on the flash, not what came in. */
static bool has_right_hash(void)
{
	static unsigned char block[16384];
	unsigned char digest[SHA256_SIZE] = { 0 };
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	uint64_t done = 0;
	size_t size = 0;
	bool good = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;

	while (good && (size = platform_part_read(done, block, sizeof(block))) > 0 && download_wait()) {
		good = EVP_DigestUpdate(hash, block, size) == 1;
		done += size;
	}
	good = good && EVP_DigestFinal_ex(hash, digest, NULL) == 1;
	EVP_MD_CTX_free(hash);
	return good && memcmp(digest, wanted->sha256, sizeof(digest)) == 0;
}

static void fetch(const struct config *config)
{
	const uint64_t at_first = received;
	uint64_t most = received;
	uint64_t failures = 0;

	while (!problem && received < wanted->image.size) {
		enum source_result result = source_fetch(wanted->url, &wanted->image, received, validator);

		if (problem || received == wanted->image.size) {
			break;
		}
		/* Slow progress is progress; only a row of attempts without any is given up.  Starting over is none. */
		failures = received > most ? 1 : failures + 1;
		most = received > most ? received : most;
		printf("download: broken after %llu of %llu bytes\n", (unsigned long long)received,
			(unsigned long long)wanted->image.size);
		if (result == SOURCE_REFUSED && received > at_first) {
			problem = "URL_EXPIRED"; /* it was good for a while: a new notice has a new one */
		} else if (failures >= config->download_tries || result == SOURCE_REFUSED) {
			problem = "DOWNLOAD_FAILED";
		} else {
			wait_ms(back_off_ms(config, failures));
		}
	}
	if (!problem && !has_right_hash() && !problem) {
		problem = "HASH_MISMATCH";
	}
}

const char *download_run(const struct config *config, const struct notice *notice)
{
	wanted = notice;
	problem = NULL;
	resume();
	/* Before anything is fetched: a full disk found out at 99 % costs a download. */
	if (!problem
		&& (notice->image.size > config->slot_size
			|| !platform_has_room(notice->image.size - received))) {
		problem = "NO_SPACE";
	}
	fetch(config);
	if (pieced && problem && strcmp(problem, "HASH_MISMATCH") == 0) {
		/* The beginning may be of another file, or the power cut has eaten some of it: once more. */
		problem = NULL;
		start_over("");
		fetch(config);
	}
	if (!problem && !platform_part_sync()) {
		problem = "SLOT_WRITE_FAILED";
	}
	/* What the network did not deliver may still come; what is wrong must not be kept. */
	if (problem && problem[0] && strcmp(problem, "DOWNLOAD_FAILED") != 0
		&& strcmp(problem, "URL_EXPIRED") != 0) {
		platform_part_remove();
	}
	return problem;
}
