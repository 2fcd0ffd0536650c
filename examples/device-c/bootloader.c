/*
 * Plays the boot loader of a board: chooses a slot, counts the boots of a trial, starts what is in the slot, and starts over
 * when that ends.  On hardware this is U-Boot, and a watchdog.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "bootctl.h"
#include "config.h"
#include "platform.h"

static const char usage[] =
	"ota_bootloader provision CONFIGURATION IMAGE VERSION [SEQUENCE]   puts the first firmware into slot a\n"
	"ota_bootloader run CONFIGURATION -- FIRMWARE [ARGUMENT]...        FIRMWARE stands for what the image would start;\n"
	"                                                                  it gets OTA_SLOT, OTA_IMAGE and OTA_VERSION\n";

static volatile sig_atomic_t child; /* 0: none */

static void power_off(int signum)
{
	(void)signum;
	if (child > 0) {
		(void)kill((pid_t)child, SIGTERM);
	}
	_exit(0);
}

static int provision(const char *image, const char *version, const char *sequence)
{
	static unsigned char block[65536];
	unsigned char digest[SHA256_SIZE] = { 0 };
	struct bootctl boot = { .active = 'a', .sequence = strtoull(sequence, NULL, 10) };
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	FILE *file = fopen(image, "rb");
	size_t size = 0;
	bool good = file && hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1
		&& strlen(version) < sizeof(boot.slots[0].version) && platform_part_open() >= 0
		&& platform_part_empty();

	while (good && (size = fread(block, 1, sizeof(block), file)) > 0) {
		good = EVP_DigestUpdate(hash, block, size) == 1
			&& platform_part_append(block, size) == PLATFORM_OK;
		boot.slots[0].size += size;
	}
	good = good && !ferror(file) && EVP_DigestFinal_ex(hash, digest, NULL) == 1
		&& platform_part_sync() && platform_slot_fill('a');
	if (file) {
		fclose(file);
	}
	EVP_MD_CTX_free(hash);
	if (good) {
		memcpy(boot.slots[0].version, version, strlen(version) + 1);
		boot.slots[0].sequence = boot.sequence;
		bootctl_hex(digest, boot.slots[0].sha256);
		good = bootctl_save(&boot) == PLATFORM_OK;
	}
	if (!good) {
		fprintf(
			stderr, "ota_bootloader: %s: cannot be read, or not be written into the slot\n", image);
	}
	return good ? 0 : 2;
}

/* Is the image in this slot the one that was verified? */
static bool is_whole(struct bootctl *boot, char name)
{
	static unsigned char block[16384];
	unsigned char digest[SHA256_SIZE] = { 0 };
	char hex[SHA256_HEX_SIZE] = "";
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	bool hashed = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;
	uint64_t offset = 0;
	size_t size = 0;

	while (hashed && (size = platform_slot_read(name, offset, block, sizeof(block))) > 0) {
		hashed = EVP_DigestUpdate(hash, block, size) == 1;
		offset += size;
	}
	hashed = hashed && EVP_DigestFinal_ex(hash, digest, NULL) == 1;
	EVP_MD_CTX_free(hash);
	bootctl_hex(digest, hex);
	return hashed && strcmp(hex, bootctl_slot(boot, name)->sha256) == 0;
}

/* The slot to boot now, or 0 when none is whole.  A trial's attempt is counted before it runs, so that a crash counts. */
static char choose(struct bootctl *boot)
{
	if (boot->trial) {
		if (boot->attempts > 0 && is_whole(boot, boot->trial)) {
			boot->attempts--;
			if (bootctl_save(boot) == PLATFORM_OK) {
				return boot->trial;
			}
		}
		bootctl_revert(boot);
	}
	if (is_whole(boot, boot->active)) {
		return boot->active;
	}
	if (!is_whole(boot, bootctl_inactive(boot))) {
		return '\0';
	}
	boot->active = bootctl_inactive(boot); /* or the next update would overwrite what runs */
	(void)bootctl_save(boot);
	return boot->active;
}

/* A trial that is not confirmed in time is reset. */
static void watch(pid_t process, uint64_t seconds, char slot)
{
	uint64_t end = seconds ? platform_now_ms() + seconds * 1000 : UINT64_MAX;
	struct bootctl boot = { 0 };
	int status = 0;

	while (waitpid(process, &status, WNOHANG) == 0) {
		if (platform_now_ms() > end) {
			if (bootctl_load(&boot) && boot.trial == slot) {
				printf("watchdog: slot %c is not confirmed after %llu s\n", slot,
					(unsigned long long)seconds);
				(void)kill(process, SIGKILL);
			}
			end = UINT64_MAX;
		}
		platform_sleep_ms(20);
	}
}

static int run(const struct config *config, char **firmware)
{
	struct bootctl boot = { 0 };
	char image[sizeof(config_text) + 16] = "";

	sigset_t off;

	(void)sigemptyset(&off);
	(void)sigaddset(&off, SIGTERM);
	(void)sigaddset(&off, SIGINT);
	(void)signal(SIGTERM, power_off);
	(void)signal(SIGINT, power_off);
	for (;;) {
		char slot = bootctl_load(&boot) ? choose(&boot) : '\0';

		if (!slot) {
			fprintf(stderr, "ota_bootloader: %s holds no firmware that could boot\n",
				config->state_directory);
			return 1;
		}
		(void)snprintf(image, sizeof(image), "%s/slot-%c.img", config->state_directory, slot);
		(void)setenv("OTA_SLOT", (const char[]){ slot, '\0' }, 1);
		(void)setenv("OTA_IMAGE", image, 1);
		(void)setenv("OTA_VERSION", bootctl_slot(&boot, slot)->version, 1);
		printf("boot: slot %c, %s\n", slot, bootctl_slot(&boot, slot)->version);
		/* A signal waits until it is known which process it is to reach. */
		(void)sigprocmask(SIG_BLOCK, &off, NULL);
		pid_t process = fork();

		if (process == 0) {
			(void)signal(SIGTERM, SIG_DFL);
			(void)signal(SIGINT, SIG_DFL);
			(void)sigprocmask(SIG_UNBLOCK, &off, NULL);
			(void)execvp(firmware[0], firmware);
			fprintf(stderr, "ota_bootloader: %s: cannot be started\n", firmware[0]);
			_exit(127);
		}
		child = (sig_atomic_t)process;
		(void)sigprocmask(SIG_UNBLOCK, &off, NULL);
		watch(process, config->watchdog_seconds, slot);
		child = 0;
		platform_sleep_ms(config->restart_ms);
	}
}

int main(int argc, char **argv)
{
	static struct config config;
	bool provisions = (argc == 5 || argc == 6) && strcmp(argv[1], "provision") == 0;
	bool runs = argc >= 5 && strcmp(argv[1], "run") == 0 && strcmp(argv[3], "--") == 0;

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (!provisions && !runs) {
		fputs(usage, stderr);
		return 2;
	}
	if (!config_load(&config, argv[2])) {
		return 2;
	}
	if (provisions) {
		(void)mkdir(config.state_directory, 0755);
	}
	if (!platform_open(&config)) {
		return 2;
	}
	return provisions ? provision(argv[3], argv[4], argc == 6 ? argv[5] : "0")
					  : run(&config, argv + 4);
}
