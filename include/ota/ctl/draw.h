/*
 * draw - a rollout on a terminal: a bar for each stage, the pace, and what comes next.
 *
 * No line is wider than the terminal (80 columns when that is unknown), none wraps, whatever the numbers; when the stages do not fit
 * the height, those around the open one are shown.
 *
 * Thread: main.
 */
#pragma once

#include <cjson/cJSON.h>

/* Draw the answer to show_rollout; `rate`: devices that finish in a minute.  Returns the number of lines. */
int draw_rollout(const cJSON *data, double rate);
