#include "ota/ctl/draw.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ota/ctl/print.h"
#include "ota/wire/json.h"
#include "ota/wire/time.h"

enum {
	COLUMNS = 80,
	COLUMNS_MIN = 40,
	COLUMNS_MAX = 200,
	ROWS = 24,
	OTHER_LINES = 4, /* beside the stages, with the cursor's */
	LABEL_MAX = 12,
	STATE = 8,
	BAR_MIN = 4,
	BAR_MAX = 40,
	LINE_SIZE = 1024,
	NUMBER_SIZE = 24
};

struct screen {
	size_t columns; /* that may be used: one less, for terminals that wrap early */
	int rows;
};

static struct screen screen_now(void)
{
	struct winsize size = { 0 };
	struct screen screen = { COLUMNS, ROWS };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
		screen.columns = size.ws_col > 0 ? size.ws_col : COLUMNS;
		screen.rows = size.ws_row > 0 ? size.ws_row : ROWS;
	}
	screen.columns = screen.columns < COLUMNS_MIN ? COLUMNS_MIN : screen.columns;
	screen.columns = (screen.columns > COLUMNS_MAX ? COLUMNS_MAX : screen.columns) - 1;
	return screen;
}

/* What a line of a stage is made of, with the widths that all lines share. */
struct figures {
	int64_t good;
	int64_t all;
	int64_t bad;
	int64_t busy;
};

struct widths {
	size_t label;
	int good;
	int all;
	int bad;
	int busy;
};

static struct figures figures_of(const cJSON *stage)
{
	struct figures figures = { .good = member_number(stage, "succeeded"),
		.all = member_number(stage, "added"),
		.bad = member_number(stage, "failed") + member_number(stage, "rejected"),
		.busy = member_number(stage, "in_flight") };

	/* Latecomers of earlier stages are served in later ones. */
	if (figures.all < figures.good + figures.bad) {
		figures.all = figures.good + figures.bad;
	}
	return figures;
}

static void widen(int *width, int64_t number)
{
	char text[NUMBER_SIZE];
	int length = snprintf(text, sizeof(text), "%" PRId64, number);

	*width = length > *width ? length : *width;
}

static struct widths widths_of(const cJSON *stages)
{
	struct widths widths = { 6, 1, 1, 1, 1 };
	const cJSON *stage;

	cJSON_ArrayForEach(stage, stages) {
		struct figures figures = figures_of(stage);
		char label[PRINT_CELL_SIZE];
		size_t width = print_width(print_cell(json_member(stage, "label"), label));

		width = width > LABEL_MAX ? LABEL_MAX : width;
		widths.label = width > widths.label ? width : widths.label;
		widen(&widths.good, figures.good);
		widen(&widths.all, figures.all);
		widen(&widths.bad, figures.bad);
		widen(&widths.busy, figures.busy);
	}
	return widths;
}

static void make_bar(const struct figures *figures, size_t cells, char bar[BAR_MAX + 1])
{
	const double all = figures->all > 0 ? (double)figures->all : 1;

	for (size_t i = 0; i < cells; i++) {
		/* A cell is full when its left end is reached, so the last one is only when all are there. */
		double at = (double)i * all / (double)cells;

		bar[i] = '.';
		if (figures->all > 0 && at < (double)(figures->good + figures->bad)) {
			bar[i] = at < (double)figures->good ? '#' : 'x';
		}
	}
	bar[cells] = '\0';
}

static void write_numbers(
	const struct figures *figures, const struct widths *widths, char *out, size_t size)
{
	/* GCC refuses snprintf() here: it takes widths that come as arguments for two thousand million. */
	FILE *text = fmemopen(out, size, "w");

	out[0] = '\0';
	if (text) {
		(void)fprintf(text, " %*" PRId64 "/%-*" PRId64 " ok %*" PRId64 " failed %*" PRId64 " busy",
			widths->good, figures->good, widths->all, figures->all, widths->bad, figures->bad,
			widths->busy, figures->busy);
		(void)fclose(text);
	}
}

static void draw_stage(const cJSON *stage, const struct widths *widths, size_t columns)
{
	struct figures figures = figures_of(stage);
	const char *state = member_text(stage, "state");
	char label[PRINT_CELL_SIZE];
	char numbers[LINE_SIZE];
	char bar[BAR_MAX + 1] = "";
	size_t used;
	size_t cells = 0;

	(void)print_cell(json_member(stage, "label"), label);
	print_clip(label, widths->label);
	write_numbers(&figures, widths, numbers, sizeof(numbers));
	used = 2 + widths->label + 1 + STATE + 2; /* with the brackets of the bar */
	if (used + strlen(numbers) + BAR_MIN <= columns) {
		cells = columns - used - strlen(numbers);
		cells = cells > BAR_MAX ? BAR_MAX : cells;
		make_bar(&figures, cells, bar);
	} else {
		print_clip(numbers, columns > used ? columns - used : 0);
	}
	(void)printf("  %s%*s%s%-*s%s", label, (int)(widths->label + 1 - print_width(label)), "",
		print_state_colour(state), STATE, state, print_colour_end());
	(void)printf(cells > 0 ? "[%s]%s\n" : "%s%s\n", bar, numbers);
}

/* "in 1 h 52 min", from the database's clock; "" when there is no such time. */
static void until(const cJSON *data, char *out, size_t size)
{
	int64_t now = 0;
	int64_t at = 0;
	int64_t left;

	out[0] = '\0';
	if (time_parse_rfc3339(member_text(data, "next_at"), &at) != OTA_OK
		|| time_parse_rfc3339(member_text(data, "now"), &now) != OTA_OK) {
		return;
	}
	left = at > now ? (at - now + 999) / 1000 : 0;
	if (left < 60) {
		(void)snprintf(out, size, " in %" PRId64 " s", left);
	} else if (left < INT64_C(3600)) {
		(void)snprintf(out, size, " in %" PRId64 " min %" PRId64 " s", left / 60, left % 60);
	} else if (left < INT64_C(86400)) {
		(void)snprintf(out, size, " in %" PRId64 " h %" PRId64 " min", left / 3600, left / 60 % 60);
	} else {
		(void)snprintf(
			out, size, " in %" PRId64 " d %" PRId64 " h", left / 86400, left / 3600 % 24);
	}
}

static void draw_line(char *line, size_t columns)
{
	print_clip(line, columns);
	(void)printf("%s\n", line);
}

static void draw_head(const cJSON *data, size_t columns)
{
	char fleet[PRINT_CELL_SIZE];
	char version[PRINT_CELL_SIZE];
	char line[LINE_SIZE];
	const char *state = member_text(data, "state");
	size_t room;

	(void)print_cell(json_member(data, "fleet"), fleet);
	(void)print_cell(json_member(data, "version"), version);
	(void)snprintf(line, sizeof(line), "rollout %" PRId64 ": %s to fleet %s",
		member_number(data, "id"), version, fleet);
	room = strlen(state) + 2;
	print_clip(line, columns > room ? columns - room : 0);
	(void)printf("%s, %s%s%s\n", line, print_state_colour(state), state, print_colour_end());
}

/* The stages that are shown: all, or as many as fit, with the open one and the next. */
static void choose_stages(const cJSON *data, int room, int *first, int *count)
{
	const int all = cJSON_GetArraySize(json_member(data, "stages"));
	const int open = (int)member_number(data, "stage"); /* from 1; 0: none */

	room = room < 1 ? 1 : room;
	*count = all < room ? all : room;
	*first = open + 1 - *count;
	*first = *first < 0 ? 0 : *first;
	*first = *first > all - *count ? all - *count : *first;
}

int draw_rollout(const cJSON *data, double rate)
{
	const struct screen screen = screen_now();
	const cJSON *stages = json_member(data, "stages");
	const struct widths widths = widths_of(stages);
	char line[LINE_SIZE];
	char words[PRINT_CELL_SIZE];
	char when[NUMBER_SIZE * 3];
	int first = 0;
	int count = 0;

	choose_stages(data, screen.rows - OTHER_LINES, &first, &count);
	draw_head(data, screen.columns);
	for (int i = first; i < first + count; i++) {
		draw_stage(cJSON_GetArrayItem(stages, i), &widths, screen.columns);
	}
	(void)print_cell(json_member(data, "next_action"), words);
	until(data, when, sizeof(when));
	(void)snprintf(line, sizeof(line), "  %.1f a minute%s%s%s", rate, *words ? "; next: " : "",
		words, *words ? when : "");
	draw_line(line, screen.columns);
	(void)print_cell(json_member(data, "reason"), words);
	(void)snprintf(line, sizeof(line), "  %s", words);
	draw_line(line, screen.columns);
	return count + 3;
}
