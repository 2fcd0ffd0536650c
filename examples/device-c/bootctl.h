/*
 * bootctl - which slot boots.  The record "boot" is what a boot loader keeps in its environment; every change is one
 * atomic replacement, so a power cut finds the state before it or after it.  docs/devices.md lists the members.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "platform.h"

enum {
	VERSION_SIZE = 129,
	SHA256_SIZE = 32,
	SHA256_HEX_SIZE = 65
};

struct slot {
	char version[VERSION_SIZE]; /* "": nothing in it */
	char sha256[SHA256_HEX_SIZE];
	uint64_t size, sequence;
};

struct bootctl {
	char active;       /* known to be good: 'a' or 'b' */
	char trial;        /* to be tried, or 0 */
	char reverted;     /* a trial that was given up, or 0; until the next update begins */
	uint64_t attempts; /* boots that the trial has left */
	uint64_t sequence; /* of the newest manifest that was confirmed */
	struct slot slots[2];
};

struct slot *bootctl_slot(struct bootctl *boot, char name);
char bootctl_inactive(const struct bootctl *boot);

bool bootctl_load(struct bootctl *boot) __attribute__((warn_unused_result));
enum platform_result bootctl_save(const struct bootctl *boot);

/* Nothing may boot the inactive slot after clear(); stage() puts the part into it, then marks it. */
void bootctl_clear_inactive(struct bootctl *boot);
bool bootctl_stage(struct bootctl *boot, const struct slot *content, uint64_t attempts);
enum platform_result bootctl_confirm(struct bootctl *boot) __attribute__((warn_unused_result));
void bootctl_revert(struct bootctl *boot);

/* Lower case. */
void bootctl_hex(const unsigned char digest[SHA256_SIZE], char hex[SHA256_HEX_SIZE]);
