#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "platform.h"

enum {
	RESERVE = 65536 /* for the records, which must never fail for want of space */
};

static const struct config *settings;
static int folder = -1;
static int part = -1;

bool platform_open(const struct config *config)
{
	settings = config;
	(void)signal(SIGXFSZ, SIG_IGN); /* a limit of the file's size is an error like any other */
	(void)signal(SIGPIPE, SIG_IGN); /* so is a peer that hangs up during TLS */
	folder = open(config->state_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0) {
		fprintf(stderr, "state_directory %s: cannot be opened\n", config->state_directory);
	}
	return folder >= 0;
}

static enum platform_result why(void)
{
	return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? PLATFORM_FULL : PLATFORM_BROKEN;
}

/* write() may do less than it was asked for, and says why only when it is asked again. */
static bool write_all(int file, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t done = write(file, data, size);

		if (done < 0 && errno != EINTR) {
			return false;
		}
		data += done > 0 ? done : 0;
		size -= done > 0 ? (size_t)done : 0;
	}
	return true;
}

static size_t read_file(const char *name, uint64_t offset, void *data, size_t size)
{
	int file = openat(folder, name, O_RDONLY | O_CLOEXEC);
	ssize_t count = file < 0 ? -1 : pread(file, data, size, (off_t)offset);

	if (file >= 0) {
		(void)close(file);
	}
	return count > 0 ? (size_t)count : 0;
}

bool platform_read_record(const char *name, char *text, size_t size)
{
	char path[64] = "";

	(void)snprintf(path, sizeof(path), "%s.json", name);
	size_t length = read_file(path, 0, text, size - 1);

	text[length] = '\0';
	return length > 0;
}

/* A new file, synced, takes the old one's name; then the name is synced. */
enum platform_result platform_write_record(const char *name, const char *text)
{
	enum platform_result result = PLATFORM_BROKEN;
	char path[64] = "";
	char fresh[64] = "";

	(void)snprintf(path, sizeof(path), "%s.json", name);
	(void)snprintf(fresh, sizeof(fresh), "%s.json.tmp", name);
	int file = openat(folder, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (file < 0) {
		return why();
	}
	if (write_all(file, text, strlen(text)) && fsync(file) == 0
		&& renameat(folder, fresh, folder, path) == 0 && fsync(folder) == 0) {
		result = PLATFORM_OK;
	} else {
		result = why();
	}
	(void)close(file);
	return result;
}

void platform_remove_record(const char *name)
{
	char path[64] = "";

	(void)snprintf(path, sizeof(path), "%s.json", name);
	(void)unlinkat(folder, path, 0);
}

int64_t platform_part_open(void)
{
	if (part < 0) {
		part = openat(folder, "download.part", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	}
	return part < 0 ? -1 : (int64_t)lseek(part, 0, SEEK_END);
}

size_t platform_part_read(uint64_t offset, void *data, size_t size)
{
	ssize_t count = pread(part, data, size, (off_t)offset);

	return count > 0 ? (size_t)count : 0;
}

enum platform_result platform_part_append(const void *data, size_t size)
{
	return write_all(part, data, size) ? PLATFORM_OK : why();
}

bool platform_part_empty(void)
{
	return ftruncate(part, 0) == 0;
}

bool platform_part_sync(void)
{
	return fsync(part) == 0;
}

static void close_part(void)
{
	if (part >= 0) {
		(void)close(part);
	}
	part = -1;
}

void platform_part_remove(void)
{
	close_part();
	(void)unlinkat(folder, "download.part", 0);
	platform_remove_record("download");
}

bool platform_has_room(uint64_t more)
{
	struct statvfs disk = { 0 };

	return fstatvfs(folder, &disk) == 0 && more + RESERVE <= disk.f_bavail * disk.f_frsize;
}

static const char *image_of(char slot)
{
	return slot == 'a' ? "slot-a.img" : "slot-b.img";
}

bool platform_slot_fill(char slot)
{
	close_part();
	return renameat(folder, "download.part", folder, image_of(slot)) == 0 && fsync(folder) == 0;
}

void platform_slot_clear(char slot)
{
	(void)unlinkat(folder, image_of(slot), 0);
}

size_t platform_slot_read(char slot, uint64_t offset, void *data, size_t size)
{
	return read_file(image_of(slot), offset, data, size);
}

char platform_running_slot(void)
{
	const char *slot = getenv("OTA_SLOT"); /* a board: from the kernel's command line */

	return slot && (slot[0] == 'a' || slot[0] == 'b') ? slot[0] : '\0';
}

const char *platform_not_ready(void)
{
	char text[16] = "";

	if (settings->busy_file[0] && access(settings->busy_file, F_OK) == 0) {
		return "BUSY";
	}
	if (settings->battery_file[0]) {
		FILE *file = fopen(settings->battery_file, "r");
		bool known = file && fgets(text, sizeof(text), file) && text[0] >= '0' && text[0] <= '9';

		if (file) {
			fclose(file);
		}
		/* A device on mains has no battery to read. */
		if (known && strtoull(text, NULL, 10) < settings->battery_min) {
			return "LOW_BATTERY";
		}
	}
	return NULL;
}

bool platform_check(const char *command, char slot, const char *version, uint64_t ms)
{
	char image[sizeof(config_text) + 16] = "";
	char name[2] = { slot, '\0' };
	char *arguments[] = { (char *)(uintptr_t)command, NULL };
	uint64_t end = platform_now_ms() + ms;
	pid_t child = 0;
	int status = 0;

	(void)snprintf(image, sizeof(image), "%s/%s", settings->state_directory, image_of(slot));
	(void)setenv("OTA_SLOT", name, 1);
	(void)setenv("OTA_IMAGE", image, 1);
	(void)setenv("OTA_VERSION", version, 1);
	if (posix_spawn(&child, command, NULL, NULL, arguments, environ) != 0) {
		return false;
	}
	while (waitpid(child, &status, WNOHANG) == 0) {
		if (platform_now_ms() >= end) {
			(void)kill(child, SIGKILL);
			(void)waitpid(child, &status, 0);
			return false;
		}
		platform_sleep_ms(10);
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

uint64_t platform_now_ms(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t platform_random(void)
{
	uint64_t number = 0;

	return getrandom(&number, sizeof(number), 0) == sizeof(number) ? number : platform_now_ms();
}

void platform_password(char *text, size_t size)
{
	FILE *file =
		settings->broker_password_file[0] ? fopen(settings->broker_password_file, "r") : NULL;

	text[0] = '\0';
	if (file && fgets(text, (int)size, file)) {
		text[strcspn(text, "\r\n")] = '\0';
	}
	if (file) {
		fclose(file);
	}
}

void platform_sleep_ms(uint64_t ms)
{
	const struct timespec pause = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&pause, NULL);
}

void platform_reboot(void)
{
	exit(0); /* ota_bootloader takes the end of the firmware for a reset */
}
