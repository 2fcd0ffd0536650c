/*
 * printable - text of others, made fit for a line of a log.
 *
 * Thread: any.  Nothing here allocates.
 */
#pragma once

/*
 * Put '?' in the place of what could end a line, move a cursor, change a terminal or turn the order of what is read: the control
 * characters C0, DEL and C1, the line and paragraph separators U+2028 and U+2029, the marks that turn the direction of text (U+202A
 * to U+202E, U+2066 to U+2069), and bytes that are not UTF-8.  In place; the text does not grow.
 */
void printable_make(char *text);
