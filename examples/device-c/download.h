/*
 * download - an image, from its source into the part, whatever happens on the way.
 *
 * The record "download" says of which file the part is one: its SHA-256, and the source's validator.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "notice.h"

/* NULL: the part is whole, synced, and has the notice's hash.  Else the code to report, or "" when agent_poll() ended it. */
const char *download_run(const struct config *config, const struct notice *notice);

/* What download_run() calls, in agent.c. */
bool agent_poll(void);                  /* often; false ends the download */
void agent_progress(uint64_t received); /* more has arrived */
