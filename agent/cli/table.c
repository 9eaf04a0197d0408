#include "agent/cli/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clean.h"

int table_init(struct table *table, const char *const titles[], size_t n_columns)
{
    *table = (struct table){.n_columns = n_columns};
    return table_add(table, titles);
}

void table_deinit(struct table *table)
{
    for (size_t i = 0; i < table->n_rows * table->n_columns; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct table){0};
}

int table_add(struct table *table, const char *const cells[])
{
    size_t n = table->n_columns, at = table->n_rows * n;
    char **grown = realloc(table->cells, (at + n) * sizeof(*grown));

    if (grown == NULL)
        return -ENOMEM;
    table->cells = grown;
    for (size_t i = 0; i < n; i++) {
        grown[at + i] = strdup(cells[i] != NULL && cells[i][0] != '\0' ? cells[i] : "-");
        if (grown[at + i] == NULL) {
            while (i-- > 0)
                free(grown[at + i]);
            return -ENOMEM;
        }
    }
    table->n_rows++;
    return 0;
}

size_t text_width(const char *text)
{
    size_t n = 0;

    for (; *text != '\0' && *text != '\n'; text++) {
        if (*text == '\x1b') {
            while (*text != 'm' && text[1] != '\0')
                text++;
        } else {
            n += ((unsigned char)*text & 0xc0) != 0x80;
        }
    }
    return n;
}

static const char *colour_of(const char *word)
{
    static const struct {
        const char *word, *colour;
    } words[] = {
        {"up", "\x1b[32m"},       {"running", "\x1b[32m"},  {"chosen", "\x1b[32m"},
        {"lost", "\x1b[31m"},     {"failed", "\x1b[31m"},   {"refused", "\x1b[31m"},
        {"pending", "\x1b[33m"},  {"frozen", "\x1b[33m"},   {"migrating", "\x1b[33m"},
        {"cordoned", "\x1b[33m"}, {"draining", "\x1b[33m"}, {"stopped", "\x1b[2m"},
        {"silent", "\x1b[33m"},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(word, words[i].word) == 0)
            return words[i].colour;
    }
    return NULL;
}

static void render_row(FILE *out, const struct table *table, size_t row, const size_t *widths,
                       bool colours)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        const char *cell = table->cells[row * table->n_columns + i];
        const char *colour = NULL;

        if (colours)
            colour = row == 0 ? "\x1b[1m" : colour_of(cell);
        fprintf(out, "%s%s%s", colour != NULL ? colour : "", cell, colour != NULL ? "\x1b[0m" : "");
        if (i + 1 < table->n_columns)
            fprintf(out, "%*s", (int)(widths[i] - text_width(cell) + 2), "");
    }
    fputc('\n', out);
}

char *table_render(const struct table *table, bool colours)
{
    size_t widths[TABLE_MAX_COLUMNS] = {0}, size = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < table->n_rows * table->n_columns; i++) {
        size_t width = text_width(table->cells[i]);

        if (width > widths[i % table->n_columns])
            widths[i % table->n_columns] = width;
    }
    for (size_t row = 0; row < table->n_rows; row++)
        render_row(out, table, row, widths, colours);
    return fclose(out) == 0 ? text : NULL;
}

static const char *scaled(double v, double step, const char *const units[], char *ret, size_t size)
{
    while (v >= step && units[1] != NULL) {
        v /= step;
        units++;
    }
    snprintf(ret, size, v == (unsigned long long)v ? "%.0f %s" : "%.1f %s", v, units[0]);
    return ret;
}

const char *format_memory(unsigned long long mib, char *ret, size_t size)
{
    static const char *const units[] = {"MiB", "GiB", "TiB", NULL};

    return scaled((double)mib, 1024, units, ret, size);
}

const char *format_rate(unsigned long long kbps, char *ret, size_t size)
{
    static const char *const units[] = {"kbit/s", "Mbit/s", "Gbit/s", NULL};

    return scaled((double)kbps, 1000, units, ret, size);
}

const char *format_bytes(unsigned long long bytes, char *ret, size_t size)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", NULL};

    return scaled((double)bytes, 1000, units, ret, size);
}
