#include "ota/wire/time.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const int64_t MS_PER_SECOND = 1000;
static const int64_t SECONDS_PER_DAY = 86400;
static const int64_t DAYS_PER_ERA = 146097; /* 400 years of the Gregorian calendar */

/* Days of a common year before each month. */
static const int DAYS_BEFORE_MONTH[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334,
	365 };

static bool is_leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days of the proleptic Gregorian calendar from 0000-01-01 to the first of January of `year` >= 0. */
static int64_t days_before_year(int64_t year)
{
	return year == 0 ? 0 : 365 * year + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 + 1;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
	return DAYS_BEFORE_MONTH[month] - DAYS_BEFORE_MONTH[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1970-01-01 to this date; month 1..12. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
	return days_before_year(year) - days_before_year(1970) + DAYS_BEFORE_MONTH[month - 1]
		+ (month > 2 && is_leap(year)) + day - 1;
}

/* The other way round, for days from 0000-01-01 on. */
static void date_from_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
	int64_t since_zero = days + days_before_year(1970);
	int64_t y = since_zero / DAYS_PER_ERA * 400 + since_zero % DAYS_PER_ERA * 400 / DAYS_PER_ERA;
	int64_t m = 1;

	/* The mean length of a year lands on the right one or a neighbour. */
	while (days_before_year(y) > since_zero) {
		y--;
	}
	while (days_before_year(y + 1) <= since_zero) {
		y++;
	}
	since_zero -= days_before_year(y);
	while (since_zero >= days_in_month(y, m)) {
		since_zero -= days_in_month(y, m);
		m++;
	}
	*year = y;
	*month = m;
	*day = since_zero + 1;
}

/* Exactly `count` digits in [min, max] at *text, which moves behind them. */
static bool read_digits(const char **text, int count, int64_t min, int64_t max, int64_t *value)
{
	int64_t number = 0;

	for (int i = 0; i < count; i++, (*text)++) {
		if (**text < '0' || **text > '9') {
			return false;
		}
		number = number * 10 + (**text - '0');
	}
	*value = number;
	return number >= min && number <= max;
}

static bool read_char(const char **text, char lower)
{
	char c = **text;

	if (c != lower && !(lower >= 'a' && lower <= 'z' && c == lower - 'a' + 'A')) {
		return false;
	}
	(*text)++;
	return true;
}

/* ".123456789" -> 123; any number of digits, cut to milliseconds; absent: 0. */
static bool read_fraction(const char **text, int64_t *ms)
{
	int64_t weight = 100;

	*ms = 0;
	if (**text != '.') {
		return true;
	}
	(*text)++;
	if (**text < '0' || **text > '9') {
		return false;
	}
	for (; **text >= '0' && **text <= '9'; (*text)++) {
		*ms += weight * (**text - '0');
		weight /= 10;
	}
	return true;
}

/* "Z" or "+02:00", in seconds to take away. */
static bool read_offset(const char **text, int64_t *seconds)
{
	int64_t sign = **text == '-' ? -1 : 1;
	int64_t hours = 0;
	int64_t minutes = 0;

	*seconds = 0;
	if (read_char(text, 'z')) {
		return true;
	}
	if (!read_char(text, '+') && !read_char(text, '-')) {
		return false;
	}
	if (!read_digits(text, 2, 0, 23, &hours) || !read_char(text, ':')
		|| !read_digits(text, 2, 0, 59, &minutes)) {
		return false;
	}
	*seconds = sign * (hours * 3600 + minutes * 60);
	return true;
}

/* A leap second stands only at the end of a UTC month, where the next second is the first of a first. */
static bool is_month_start(int64_t seconds)
{
	int64_t year = 0;
	int64_t month = 0;
	int64_t day = 0;

	if (seconds % SECONDS_PER_DAY != 0) {
		return false;
	}
	date_from_days(seconds / SECONDS_PER_DAY, &year, &month, &day);
	return day == 1;
}

enum ota_err time_parse_rfc3339(const char *text, int64_t *ms)
{
	int64_t year = 0;
	int64_t month = 0;
	int64_t day = 0;
	int64_t hour = 0;
	int64_t minute = 0;
	int64_t second = 0;
	int64_t fraction = 0;
	int64_t offset = 0;
	int64_t seconds = 0;

	if (!text || !read_digits(&text, 4, 0, 9999, &year) || !read_char(&text, '-')
		|| !read_digits(&text, 2, 1, 12, &month) || !read_char(&text, '-')
		|| !read_digits(&text, 2, 1, days_in_month(year, month), &day) || !read_char(&text, 't')
		|| !read_digits(&text, 2, 0, 23, &hour) || !read_char(&text, ':')
		|| !read_digits(&text, 2, 0, 59, &minute) || !read_char(&text, ':')
		|| !read_digits(&text, 2, 0, 60, &second) || !read_fraction(&text, &fraction)
		|| !read_offset(&text, &offset) || *text != '\0') {
		return OTA_ERR_INVALID;
	}
	seconds = days_from_date(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60
		+ second - offset;
	if (second == 60 && (year == 0 || !is_month_start(seconds))) {
		return OTA_ERR_INVALID;
	}
	*ms = seconds * MS_PER_SECOND + fraction;
	return OTA_OK;
}

void time_format_rfc3339(int64_t ms, char *out)
{
	const int64_t first = days_from_date(0, 1, 1) * SECONDS_PER_DAY;
	const int64_t last = days_from_date(10000, 1, 1) * SECONDS_PER_DAY - 1;
	int64_t seconds = ms / MS_PER_SECOND - (ms % MS_PER_SECOND < 0);
	int64_t days = 0;
	int64_t rest = 0;
	int64_t year = 0;
	int64_t month = 0;
	int64_t day = 0;

	seconds = seconds < first ? first : seconds > last ? last : seconds;
	days = seconds / SECONDS_PER_DAY - (seconds % SECONDS_PER_DAY < 0);
	rest = seconds - days * SECONDS_PER_DAY;
	date_from_days(days, &year, &month, &day);
	(void)snprintf(out, TIME_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)year % 10000,
		(unsigned)month % 100, (unsigned)day % 100, (unsigned)(rest / 3600) % 100,
		(unsigned)(rest / 60 % 60) % 100, (unsigned)(rest % 60) % 100);
}
