/*
 * slots - the A/B slots of one device and its boot loader's choice between them.
 *
 * In memory a slot is what is known of its image; with a folder the images and the boot record are
 * real files, and the record is replaced atomically, so a device killed at any moment boots one
 * complete image.  Thread: the fleet's.  Version texts belong to the fleet's name pool.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common.h"
#include "image.h"
#include "options.h"

enum slot_state {
	SLOT_EMPTY,
	SLOT_TRIAL,
	SLOT_CONFIRMED
};

struct slot {
	const char *version; /* interned; NULL when empty */
	int64_t sequence;    /* of the manifest it came with */
	uint64_t size;
	unsigned char sha256[COMMON_SHA256_SIZE];
	uint16_t failrate;
	uint8_t behaviour; /* enum image_behaviour */
	uint8_t state;     /* enum slot_state */
	uint8_t attempts;  /* boots left while on trial */
};

struct slots {
	struct slot slot[2];
	int64_t rollout; /* what the last update was for, kept over reboots; 0: unknown */
	uint32_t attempt;
	uint8_t active;  /* the confirmed one */
	uint8_t running; /* the one that was booted */
};

enum slots_boot {
	SLOTS_BOOT_CONFIRMED,
	SLOTS_BOOT_TRIAL,
	SLOTS_BOOT_FALLBACK
};

/*
 * Set up from `folder` (created with the factory image when new) or, when it is NULL, in memory.
 * False after a message when the folder cannot be used.
 */
bool slots_open(struct slots *slots, const char *folder, const struct options *options,
	struct name_pool *names) __attribute__((warn_unused_result));

/* The boot loader: the trial slot while it has attempts, else the confirmed one. */
enum slots_boot slots_choose_boot(struct slots *slots, const char *folder);

/*
 * Put a verified image into the inactive slot, on trial.  `slot` describes it; with a folder the
 * downloaded file `part` becomes the slot's file.  False when the files could not be written.
 */
bool slots_stage(struct slots *slots, const char *folder, const char *part, const struct slot *slot)
	__attribute__((warn_unused_result));

/* The running trial is good: it is the active slot from now on. */
void slots_confirm(struct slots *slots, const char *folder);

/* The trial failed: the next boot takes the confirmed slot. */
void slots_discard(struct slots *slots, const char *folder);

const struct slot *slots_running(const struct slots *slots);
