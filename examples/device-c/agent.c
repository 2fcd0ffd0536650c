#include "agent.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bootctl.h"
#include "download.h"
#include "journal.h"
#include "link.h"
#include "notice.h"
#include "platform.h"

enum {
	ACKNOWLEDGE_MS = 5000,
	CONNECT_MS = 10000
};

static const struct config *settings;
static struct bootctl boot;
static struct journal journal;
static struct notice notice; /* being worked on */
static char running;         /* slot */
static char boot_id[17];
static char last_status[16]; /* of the update at hand */
static unsigned said_in;     /* the connection that has heard from us */
static uint64_t quarter;     /* of the download that was reported last */
static bool recalled;        /* why a download ends before its time: what agent_poll() has seen */
static bool superseded;

/* --- reports --- */

/* Acknowledged within `wait_ms`?  `number_name` NULL: no number. */
static bool report(const char *status, const char *error, const char *number_name, uint64_t number,
	uint64_t wait_ms)
{
	static char text[4096];
	char now[32] = "";
	struct tm parts = { 0 };
	const time_t seconds = time(NULL);

	(void)strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &parts));
	json_begin();
	cJSON *body = cJSON_CreateObject();

	cJSON_AddStringToObject(body, "version", bootctl_slot(&boot, running)->version);
	cJSON_AddStringToObject(body, "status", status);
	cJSON_AddStringToObject(body, "slot", (const char[]){ running, '\0' });
	cJSON_AddStringToObject(body, "bootId", boot_id);
	cJSON_AddStringToObject(body, "ts", now);
	if (settings->hardware[0]) {
		cJSON_AddStringToObject(body, "hardware", settings->hardware);
	}
	if (journal.attempt) {
		cJSON_AddNumberToObject(body, "attempt", (double)journal.attempt);
	}
	if (error && error[0]) {
		cJSON_AddStringToObject(body, "error", error);
	}
	if (number_name) {
		cJSON_AddNumberToObject(body, number_name, (double)number);
	}
	if (status == journal.status) { /* the outcome */
		cJSON_AddStringToObject(body, "previousVersion", journal.previous);
		cJSON_AddRawToObject(body, "checks", journal.checks[0] ? journal.checks : "{}");
	}
	if (!cJSON_PrintPreallocated(body, text, (int)sizeof(text), false)) {
		return false;
	}
	(void)snprintf(last_status, sizeof(last_status), "%s", status);
	said_in = link_session();
	printf("report: %s\n", text);
	return link_publish("status", text, 1, wait_ms);
}

static void report_outcome(void)
{
	if (report(journal.status, journal.error, NULL, 0, ACKNOWLEDGE_MS)) {
		journal.acknowledged = true;
		(void)journal_save(&journal);
	}
}

/* The outcome is on the disk before it is told, so it is told in the end. */
static void finish(const char *status, const char *error)
{
	journal.step = JOURNAL_DONE;
	journal.acknowledged = false;
	(void)snprintf(journal.status, sizeof(journal.status), "%s", status);
	if (error != journal.error) { /* after a boot, the reason is there already */
		(void)snprintf(journal.error, sizeof(journal.error), "%s", error);
	}
	(void)journal_save(&journal);
	report_outcome();
}

static void say_again(void)
{
	if (journal.step == JOURNAL_DONE && !journal.acknowledged) {
		report_outcome();
	} else if (journal.step != JOURNAL_WORKING) {
		(void)report("IDLE", NULL, NULL, 0, 0);
	} else if (last_status[0]) {
		(void)report(last_status, NULL, NULL, 0, 0);
	}
}

/* A new connection: what is going on here? */
static void greet(void)
{
	if (link_session() != 0 && link_session() != said_in) {
		say_again();
	}
}

/* --- during a download --- */

bool agent_poll(void)
{
	static struct notice other; /* large */
	size_t size = 0;
	const char *text = NULL;

	link_service(0);
	greet();
	while (!recalled && !superseded && (text = link_take(&size)) != NULL) {
		if (notice_parse(&other, text, size)) {
			continue;
		}
		if (other.recall) {
			recalled = other.has_rollout ? other.rollout == journal.rollout
										 : strcmp(other.image.version, journal.version) == 0;
		} else if (strcmp(other.key, journal.key) == 0) {
			say_again();
		} else {
			superseded = true;
			link_put_back();
		}
	}
	return !recalled && !superseded;
}

void agent_progress(uint64_t received)
{
	if (4 * received / notice.image.size > quarter) {
		quarter = 4 * received / notice.image.size;
		(void)report("DOWNLOADING", NULL, "progress", 25 * quarter, 0);
	}
}

/* --- an update, until the reboot --- */

static void postpone(const char *why, uint64_t seconds)
{
	/* What has been downloaded is kept for the next attempt. */
	(void)report("DEFERRED", why, "retryAfter", seconds, 0);
	journal_forget(&journal);
}

/* From here on a recall comes too late. */
static void install(void)
{
	(void)report("APPLYING", NULL, NULL, 0, 0);
	if (!bootctl_stage(&boot, &notice.image, settings->boot_attempts)) {
		finish("FAILED", "SLOT_WRITE_FAILED");
		return;
	}
	(void)report("REBOOTING", NULL, NULL, 0, ACKNOWLEDGE_MS);
	link_close();
	platform_reboot();
}

/* The image, downloaded and verified; else the code to report. */
static const char *obtain(void)
{
	/* Not before: a forged notice must not cost the image to fall back to. */
	bootctl_clear_inactive(&boot);
	(void)report("DOWNLOADING", NULL, NULL, 0, 0);
	const char *code = download_run(settings, &notice);

	if (!code) {
		(void)report("VERIFYING", NULL, NULL, 0, 0);
		code = notice_verify_file(&notice);
	}
	return code;
}

/* `code`: what notice_verify() has found. */
static void work(const char *code)
{
	const char *busy = code ? NULL : platform_not_ready();

	quarter = 0;
	recalled = false;
	superseded = false;
	if (!code && !busy) {
		code = obtain();
		busy = code ? NULL : platform_not_ready(); /* it may have become busy meanwhile */
	}
	if (busy) {
		postpone(busy, settings->defer_seconds);
	} else if (code && strcmp(code, "URL_EXPIRED") == 0) {
		postpone(code, 1);
	} else if (!code && agent_poll()) {
		install();
	} else if (recalled) {
		platform_part_remove();
		journal_forget(&journal);
		(void)report("IDLE", NULL, NULL, 0, 0);
	} else if (superseded) {
		journal_forget(&journal);
	} else if (code) {
		if (strcmp(code, "BAD_SIGNATURE") == 0) {
			platform_part_remove();
		}
		finish("FAILED", code);
	}
}

static void take_up(const char *text, size_t size)
{
	const struct slot *now = bootctl_slot(&boot, running);
	const char *code = notice_verify(&notice, settings, boot.sequence);

	if (boot.reverted) { /* the last update's end must not be taken for this one's */
		boot.reverted = '\0';
		(void)bootctl_save(&boot);
	}
	journal = (struct journal){ .step = JOURNAL_WORKING,
		.slot = bootctl_inactive(&boot),
		.rollout = notice.rollout,
		.attempt = notice.attempt,
		.notice_size = size };
	memcpy(journal.key, notice.key, sizeof(journal.key));
	memcpy(journal.version, notice.image.version, sizeof(journal.version));
	memcpy(journal.previous, now->version, sizeof(journal.previous));
	memcpy(journal.notice, text, size);
	if (journal_save(&journal) != PLATFORM_OK) {
		finish("FAILED", "NO_SPACE"); /* an update that would be forgotten is not begun */
	} else if (strcmp(now->version, notice.image.version) == 0
		&& strcmp(now->sha256, notice.image.sha256) == 0) {
		finish("SUCCESS", "");
	} else {
		work(code);
	}
}

static void handle(const char *text, size_t size)
{
	if (notice_parse(&notice, text, size)) {
		const uint64_t attempt = journal.attempt;

		journal.attempt = notice.attempt; /* it is that one which fails */
		(void)report("FAILED", "BAD_NOTICE", NULL, 0, 0);
		journal.attempt = attempt;
		return;
	}
	if (notice.recall) {
		/* Nothing is being worked on.  The same attempt may be ordered again later. */
		if (notice.has_rollout && notice.rollout == journal.rollout) {
			journal_forget(&journal);
		}
	} else if (journal.step == JOURNAL_DONE && strcmp(notice.key, journal.key) == 0) {
		report_outcome(); /* the same notice again: the broker has not heard us */
	} else {
		take_up(text, size);
	}
}

/* --- after a boot --- */

/* Every check is asked again until all are good or the time is over. */
static bool check_health(void)
{
	const uint64_t end = platform_now_ms() + settings->health_seconds * 1000;
	bool good[CONFIG_CHECKS_MAX] = { false };
	bool all = false;

	do {
		link_service(100);
		all = link_session() != 0;
		for (size_t i = 0; i < settings->checks; i++) {
			const uint64_t now = platform_now_ms();

			good[i] = good[i]
				|| platform_check(settings->check_command[i], running,
					bootctl_slot(&boot, running)->version, now < end ? end - now : 10);
			all = all && good[i];
		}
	} while (!all && platform_now_ms() < end);
	json_begin();
	cJSON *checks = cJSON_CreateObject();

	/* A device that cannot be reached cannot be repaired: so having reached the broker is a check, too. */
	cJSON_AddBoolToObject(checks, "mqttConnected", link_session() != 0);
	for (size_t i = 0; i < settings->checks; i++) {
		cJSON_AddBoolToObject(checks, settings->check_name[i], good[i]);
	}
	if (!cJSON_PrintPreallocated(checks, journal.checks, (int)sizeof(journal.checks), false)) {
		journal.checks[0] = '\0'; /* eight long names: none rather than half of them */
	}
	return all;
}

static void judge_trial(void)
{
	if (boot.trial != running) {
		finish("SUCCESS", ""); /* confirmed, and the power failed before it was told */
	} else if (check_health()) {
		if (bootctl_confirm(&boot) != PLATFORM_OK) {
			platform_reboot(); /* on the disk it is still a trial: to be tried again, or given up in the end */
		}
		finish("SUCCESS", "");
	} else {
		printf("health: %s\n", journal.checks);
		(void)snprintf(journal.error, sizeof(journal.error), "HEALTH_CHECK_FAILED");
		(void)journal_save(&journal);
		bootctl_revert(&boot);
		link_close();
		platform_reboot();
	}
}

/* Where were we?  Decided from what runs and from what is on the disk, never from what was last said. */
static void after_boot(void)
{
	if (journal.step == JOURNAL_DONE && !journal.acknowledged
		&& strcmp(journal.status, "SUCCESS") == 0
		&& strcmp(journal.version, bootctl_slot(&boot, running)->version) != 0) {
		finish("ROLLED_BACK", "BOOT_LOOP"); /* good once, and lost before it was told */
	}
	if (journal.step != JOURNAL_WORKING) {
		return;
	}
	if (running == journal.slot) {
		judge_trial();
	} else if (boot.reverted == journal.slot) {
		/* The boot loader gave the trial up, unless we did and wrote down why. */
		finish("ROLLED_BACK", journal.error[0] ? journal.error : "BOOT_LOOP");
	} else if (boot.trial == journal.slot) {
		platform_reboot(); /* marked, not booted */
	} else {
		const uint64_t end = platform_now_ms() + CONNECT_MS;

		(void)snprintf(last_status, sizeof(last_status), "DOWNLOADING");
		while (link_session() == 0 && platform_now_ms() < end) {
			link_service(100); /* not needed, but then somebody sees what goes on */
		}
		const char *code = notice_parse(&notice, journal.notice, journal.notice_size);

		work(code ? code : notice_verify(&notice, settings, boot.sequence));
	}
}

void agent_run(const struct config *config)
{
	size_t size = 0;
	const char *text = NULL;

	settings = config;
	(void)snprintf(boot_id, sizeof(boot_id), "%016llx", (unsigned long long)platform_random());
	if (!bootctl_load(&boot)) {
		fprintf(stderr, "%s holds no firmware; see ota_bootloader provision\n",
			config->state_directory);
		platform_reboot();
	}
	running = platform_running_slot() ? platform_running_slot() : boot.active;
	journal_load(&journal);
	after_boot();
	for (;;) {
		link_service(1000);
		greet();
		while ((text = link_take(&size)) != NULL) {
			handle(text, size);
		}
	}
}
