/*
 * agent - from a notice to SUCCESS, or back.
 *
 *     told -> verified -> DOWNLOADING -> VERIFYING -> APPLYING -> REBOOTING -> (boot loader) -> checked -> SUCCESS
 *                                                                                            \-> reverted -> ROLLED_BACK
 *
 * The power may fail between any two lines of agent.c.  What was going on is in the record "update", what boots is in the
 * record "boot"; after a boot both are read, and the update goes on.
 */
#pragma once

#include "config.h"

/* Never returns: it ends in platform_reboot(), or with the power. */
void agent_run(const struct config *config) __attribute__((noreturn));
