#include "ota/ctl/print.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	COLUMNS_MAX = 24,
	COLUMN_WIDTH_MAX = 60,
	NAME_MAX_BYTES = 64,
	GAP = 2
};

struct column {
	char head[NAME_MAX_BYTES];
	char member[NAME_MAX_BYTES];
	size_t width;
};

bool print_terminal(void)
{
	return isatty(STDOUT_FILENO) == 1;
}

static bool colours(void)
{
	const char *no = getenv("NO_COLOR");

	return print_terminal() && !(no && *no);
}

const char *print_state_colour(const char *state)
{
	static const struct {
		const char *words;
		const char *sequence;
	} table[] = {
		{ " verified completed succeeded passed true ", "\033[32m" },
		{ " running open downloading verifying applying rebooting notified ", "\033[36m" },
		{ " paused held scheduled submitted deferred timed_out ", "\033[33m" },
		{ " halted failed rolled_back rejected revoked cancelled ", "\033[31m" },
	};
	char word[NAME_MAX_BYTES];

	if (!colours() || snprintf(word, sizeof(word), " %s ", state) >= (int)sizeof(word)) {
		return "";
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strstr(table[i].words, word)) {
			return table[i].sequence;
		}
	}
	return "";
}

const char *print_colour_end(void)
{
	return colours() ? "\033[0m" : "";
}

/* "2026-01-31T02:40:00.123456+00:00" becomes "2026-01-31T02:40:00Z"; anything else stays. */
static void shorten_time(char *text)
{
	static const char shape[] = "0000-00-00T00:00:00";
	size_t length = strlen(text);

	if (length < sizeof("0000-00-00T00:00:00+00:00") - 1) {
		return;
	}
	for (size_t i = 0; i < sizeof(shape) - 1; i++) {
		if (shape[i] == '0' ? (text[i] < '0' || text[i] > '9') : text[i] != shape[i]) {
			return;
		}
	}
	if (strcmp(text + length - 6, "+00:00") == 0) {
		memcpy(text + sizeof(shape) - 1, "Z", 2);
	}
}

/* Control characters of C0 and C1 out, cut between characters. */
static void make_safe(const char *text, char out[PRINT_CELL_SIZE])
{
	size_t used = 0;

	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		size_t length = *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : *at >= 0xc0 ? 2 : 1;

		if (used + length >= PRINT_CELL_SIZE - 3) {
			memcpy(out + used, "...", 3);
			used += 3;
			break;
		}
		if (*at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0)) {
			out[used++] = '?';
			at += length - 1;
			continue;
		}
		memcpy(out + used, at, length);
		used += length;
		at += length - 1;
	}
	out[used] = '\0';
}

const char *print_cell(const cJSON *value, char out[PRINT_CELL_SIZE])
{
	char *text;

	out[0] = '\0';
	if (!value || cJSON_IsNull(value)) {
		return out;
	}
	if (cJSON_IsBool(value)) {
		(void)snprintf(out, PRINT_CELL_SIZE, "%s", cJSON_IsTrue(value) ? "yes" : "no");
		return out;
	}
	if (cJSON_IsString(value)) {
		make_safe(value->valuestring, out);
		shorten_time(out);
		return out;
	}
	text = cJSON_PrintUnformatted(value);
	if (text) {
		make_safe(text, out);
	}
	free(text);
	return out;
}

int64_t member_number(const cJSON *object, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	return cJSON_IsNumber(item) ? (int64_t)item->valuedouble : 0;
}

const char *member_text(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	return text ? text : "";
}

size_t print_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++) {
		width += ((unsigned char)*text & 0xC0U) != 0x80U ? 1 : 0;
	}
	return width;
}

void print_clip(char *text, size_t columns)
{
	for (size_t width = 0; *text; text++) {
		width += ((unsigned char)*text & 0xC0U) != 0x80U ? 1 : 0;
		if (width > columns) {
			*text = '\0';
			return;
		}
	}
}

/* `length` bytes as a text, cut. */
static void copy_name(char out[NAME_MAX_BYTES], const char *text, size_t length)
{
	length = length < NAME_MAX_BYTES ? length : NAME_MAX_BYTES - 1;
	memcpy(out, text, length);
	out[length] = '\0';
}

static void name_column(struct column *column, const char *text, size_t length)
{
	const char *equals = memchr(text, '=', length);
	size_t head = equals ? (size_t)(equals - text) : length;
	const char *member = equals ? equals + 1 : text;

	copy_name(column->head, text, head);
	copy_name(column->member, member, length - (size_t)(member - text));
	for (char *at = column->head; *at; at++) {
		*at = (char)(*at == '_' ? ' ' : toupper((unsigned char)*at));
	}
}

static size_t choose_columns(const cJSON *list, const char *columns, struct column out[COLUMNS_MAX])
{
	size_t count = 0;
	const cJSON *item;

	if (!columns) {
		cJSON_ArrayForEach(item, list->child) {
			if (count < COLUMNS_MAX) {
				name_column(&out[count++], item->string, strlen(item->string));
			}
		}
		return count;
	}
	while (*columns && count < COLUMNS_MAX) {
		size_t length = strcspn(columns, " ");

		name_column(&out[count++], columns, length);
		columns += length;
		columns += strspn(columns, " ");
	}
	return count;
}

static const char *cell_of(const cJSON *row, const struct column *column, char out[PRINT_CELL_SIZE])
{
	return print_cell(cJSON_GetObjectItemCaseSensitive(row, column->member), out);
}

static void print_row(const cJSON *row, const struct column *columns, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char text[PRINT_CELL_SIZE];
		const char *colour = "";
		size_t width;

		if (row) {
			(void)cell_of(row, &columns[i], text);
			colour = print_state_colour(text);
		} else {
			(void)snprintf(text, sizeof(text), "%s", columns[i].head);
		}
		width = print_width(text);
		(void)printf("%s%s%s", colour, text, *colour ? print_colour_end() : "");
		if (i + 1 < count) {
			(void)printf(
				"%*s", (int)((columns[i].width > width ? columns[i].width - width : 0) + GAP), "");
		}
	}
	(void)printf("\n");
}

void print_table(const cJSON *list, const char *columns, const char *none)
{
	struct column table[COLUMNS_MAX];
	size_t count;
	const cJSON *row;

	if (!cJSON_IsArray(list) || !list->child) {
		(void)printf("%s\n", none);
		return;
	}
	count = choose_columns(list, columns, table);
	for (size_t i = 0; i < count; i++) {
		table[i].width = print_width(table[i].head);
		cJSON_ArrayForEach(row, list) {
			char text[PRINT_CELL_SIZE];
			size_t width = print_width(cell_of(row, &table[i], text));

			width = width > COLUMN_WIDTH_MAX ? COLUMN_WIDTH_MAX : width;
			table[i].width = width > table[i].width ? width : table[i].width;
		}
	}
	print_row(NULL, table, count);
	cJSON_ArrayForEach(row, list) {
		print_row(row, table, count);
	}
}

static bool is_table(const cJSON *value)
{
	return cJSON_IsArray(value) && cJSON_IsObject(value->child);
}

void print_object(const cJSON *object)
{
	char text[PRINT_CELL_SIZE];
	size_t width = 0;
	const cJSON *item;

	cJSON_ArrayForEach(item, object) {
		width = !is_table(item) && print_width(item->string) > width ? print_width(item->string)
																	 : width;
	}
	cJSON_ArrayForEach(item, object) {
		if (!is_table(item) && *print_cell(item, text)) {
			const char *colour = print_state_colour(text);

			(void)printf("%-*s  %s%s%s\n", (int)width, item->string, colour, text,
				*colour ? print_colour_end() : "");
		}
	}
	cJSON_ArrayForEach(item, object) {
		if (is_table(item)) {
			(void)printf("\n%s:\n", item->string);
			print_table(item, NULL, "none");
		}
	}
}

void print_sentence(const char *sentence, const cJSON *first, const cJSON *second)
{
	while (*sentence) {
		size_t plain = strcspn(sentence, "{");
		size_t length;
		char name[NAME_MAX_BYTES];
		char text[PRINT_CELL_SIZE];
		const cJSON *value;

		(void)printf("%.*s", (int)plain, sentence);
		sentence += plain;
		if (!*sentence) {
			break;
		}
		length = strcspn(sentence, "}");
		copy_name(name, sentence + 1, length - 1);
		value = cJSON_GetObjectItemCaseSensitive(first, name);
		value = value ? value : cJSON_GetObjectItemCaseSensitive(second, name);
		(void)printf("%s", print_cell(value, text));
		sentence += length + (sentence[length] ? 1 : 0);
	}
	(void)printf("\n");
}

void print_json(const cJSON *value, bool line)
{
	char *text = line ? cJSON_PrintUnformatted(value) : cJSON_Print(value);

	if (text) {
		(void)printf("%s\n", text);
	}
	free(text);
	(void)fflush(stdout);
}
