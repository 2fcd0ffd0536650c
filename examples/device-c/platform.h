/*
 * platform - everything the agent asks of the board.  To bring it to yours, write these functions; platform_linux.c
 * does it with files, and stands for a boot loader's variables, two flash partitions and a few pins.
 *
 * Thread: one.  Nothing here may keep a pointer it is given.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

enum platform_result {
	PLATFORM_OK,
	PLATFORM_FULL, /* no room */
	PLATFORM_BROKEN
};

/* Once, before everything else.  False after a message. */
bool platform_open(const struct config *config) __attribute__((warn_unused_result));

/*
 * Small records by name ("boot", "update", "download"): a flash key-value store, or the boot loader's environment.
 * A write is atomic: after a power cut there is the old text or the new one, whole.
 */
bool platform_read_record(const char *name, char *text, size_t size);
enum platform_result platform_write_record(const char *name, const char *text);
void platform_remove_record(const char *name);

/*
 * The image that arrives: an append-only store that survives reboots.  open() gives its length (0: none yet, negative:
 * broken); read() gives fewer bytes than asked for at its end only.
 */
int64_t platform_part_open(void);
size_t platform_part_read(uint64_t offset, void *data, size_t size);
enum platform_result platform_part_append(const void *data, size_t size);
bool platform_part_empty(void);
bool platform_part_sync(void);
void platform_part_remove(void);
/* Is there room for so many bytes more, and for the records? */
bool platform_has_room(uint64_t more);

/* Slots are 'a' and 'b'.  fill() makes the part that slot's image, on the disk when it returns. */
bool platform_slot_fill(char slot);
void platform_slot_clear(char slot);
size_t platform_slot_read(char slot, uint64_t offset, void *data, size_t size);
/* The slot that was booted; 0: not known, then it is the active one. */
char platform_running_slot(void);

/* NULL when an update may go on now, else the code to defer it with: "BUSY", "LOW_BATTERY". */
const char *platform_not_ready(void);
/* Run one health check of the firmware in `slot`; it must end within `ms`. */
bool platform_check(const char *command, char slot, const char *version, uint64_t ms);

/* The broker's password, from wherever this board keeps secrets; "" when there is none. */
void platform_password(char *text, size_t size);

uint64_t platform_now_ms(void); /* monotonic */
uint64_t platform_random(void);
void platform_sleep_ms(uint64_t ms);
void platform_reboot(void) __attribute__((noreturn));
