/* table: rows of words as columns for people (pure). */
#ifndef SKEIN_AGENT_CLI_TABLE_H
#define SKEIN_AGENT_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum { TABLE_MAX_COLUMNS = 16 };

struct table {
    size_t n_columns, n_rows, capacity;
    char **cells; /* row after row, the titles first; heap, owned */
};

/* Titles are copied. -ENOMEM. */
int table_init(struct table *table, const char *const titles[], size_t n_columns);
void table_deinit(struct table *table);
/* Appends a row; cells are copied, NULL is "-". -ENOMEM. */
int table_add(struct table *table, const char *const cells[]);
/* The whole text, columns two blanks apart, no blanks at the ends of lines; heap, NULL without
 * memory. With colours, words that say how something is ("up", "lost", …) carry theirs. */
char *table_render(const struct table *table, bool colours);

/* Columns that the text takes until its end or the end of its line; colours take none. */
size_t text_width(const char *text);

/* "64 MiB", "2 GiB"; "20 Mbit/s"; "1.2 MB": for people. */
const char *format_memory(unsigned long long mib, char *ret, size_t size);
const char *format_rate(unsigned long long kbps, char *ret, size_t size);
const char *format_bytes(unsigned long long bytes, char *ret, size_t size);

#endif
