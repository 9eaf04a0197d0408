#include "agent/cli/top_jansson.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/cli/bar.h"
#include "agent/cli/core_list.h"
#include "agent/cli/show_links_jansson.h"
#include "agent/cli/table.h"
#include "base/clean.h"

enum { BAR_MIN = 4, BAR_NORMAL = 20, BAR_WIDE = 40, CELL_SIZE = 192, CLUSTER_WORDS = 8 };

/* How bars are drawn. */
struct bar_look {
    unsigned width;
    bool colours;
};

typedef void cell_fn(const json_t *row, struct bar_look bar, char *ret, size_t size);

struct column {
    const char *title;
    unsigned rank; /* the highest is left out first; 0 = never */
    cell_fn *cell;
};

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

/* ---- cells */

static void cell_name(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    (void)bar;
    snprintf(ret, size, "%s%s", text_of(row, "name"),
             json_is_true(json_object_get(row, "leader")) ? "*" : "");
}

static void cell_state(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    bool is_silent = json_is_array(json_object_get(row, "heard_by_others"));
    const char *state = text_of(row, "state");

    (void)bar;
    snprintf(ret, size, "%s", is_silent && strcmp(state, "lost") != 0 ? "silent" : state);
}

static void cell_role(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    (void)bar;
    snprintf(ret, size, "%s", text_of(row, "role"));
}

static void duration(const json_t *row, const char *key, char *ret, size_t size)
{
    const json_t *value = json_object_get(row, key);
    json_int_t ms = json_integer_value(value);

    ret[0] = '\0';
    if (json_is_integer(value) && ms < 10000)
        snprintf(ret, size, "%d ms", (int)ms);
    else if (json_is_integer(value))
        snprintf(ret, size, "%lld s", (long long)ms / 1000);
}

static void cell_heard(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    (void)bar;
    duration(row, "heard_ms_ago", ret, size);
}

static void cell_lease(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    (void)bar;
    duration(row, "lease_left_ms", ret, size);
}

static void cell_trip(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    (void)bar;
    ret[0] = '\0';
    if (json_is_integer(json_object_get(row, "round_trip_us")))
        snprintf(ret, size, "%.1f ms", (double)number_of(row, "round_trip_us") / 1000.0);
}

static void cell_loss(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    json_int_t due = number_of(row, "beats_due");

    (void)bar;
    ret[0] = '\0';
    if (due > 0)
        snprintf(ret, size, "%d %%", (int)(number_of(row, "beats_unanswered") * 100 / due));
}

static void cell_out(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    links_bar(json_object_get(row, "uplink"), "out", bar.width, bar.colours, ret, size);
}

static void cell_in(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    links_bar(json_object_get(row, "uplink"), "in", bar.width, bar.colours, ret, size);
}

static void cell_cores(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    json_int_t all = number_of(row, "cores_isolated");

    (void)bar;
    snprintf(ret, size, "%d/%d", (int)(all - number_of(row, "cores_free")), (int)all);
}

static void cell_memory(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    json_int_t all = number_of(row, "memory_mib");
    char used[32], whole[32];

    (void)bar;
    snprintf(ret, size, "%s/%s",
             format_memory((unsigned long long)(all - number_of(row, "memory_free_mib")), used,
                           sizeof(used)),
             format_memory((unsigned long long)all, whole, sizeof(whole)));
}

static const struct column node_columns[] = {
    {"NODE", 0, cell_name},   {"STATE", 0, cell_state},   {"ROLE", 7, cell_role},
    {"HEARD", 1, cell_heard}, {"LEASE", 3, cell_lease},   {"TRIP", 6, cell_trip},
    {"LOSS", 2, cell_loss},   {"OUT", 4, cell_out},       {"IN", 5, cell_in},
    {"CORES", 8, cell_cores}, {"MEMORY", 9, cell_memory}, {NULL, 0, NULL},
};

static void cell_guest_state(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    (void)bar;
    snprintf(ret, size, "%s", text_of(row, "state"));
}

static void cell_node(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    (void)bar;
    snprintf(ret, size, "%s", text_of(row, "node"));
}

static void cell_guest_cores(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    uint16_t cores[CORE_LIST_MAX];
    const json_t *core;
    size_t n = 0, i;

    (void)bar;
    json_array_foreach(json_object_get(row, "cores"), i, core)
    {
        if (n < CORE_LIST_MAX)
            cores[n++] = (uint16_t)json_integer_value(core);
    }
    core_list_format(cores, n, ret, size);
}

static void cell_guest_memory(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    (void)bar;
    format_memory((unsigned long long)number_of(row, "memory_mib"), ret, size);
}

static void cell_ip(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    (void)bar;
    snprintf(ret, size, "%s", text_of(row, "ip"));
}

static void cell_slice(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    (void)bar;
    snprintf(ret, size, "%s", text_of(row, "slice"));
}

static void cell_image(const json_t *row, struct bar_look bar, char *ret, size_t size)
{
    (void)bar;
    snprintf(ret, size, "%s", text_of(row, "image"));
}

static const struct column guest_columns[] = {
    {"GUEST", 0, cell_name},        {"STATE", 0, cell_guest_state},   {"NODE", 0, cell_node},
    {"CORES", 1, cell_guest_cores}, {"MEMORY", 2, cell_guest_memory}, {"IP", 3, cell_ip},
    {"SLICE", 4, cell_slice},       {"IMAGE", 5, cell_image},         {NULL, 0, NULL},
};

/* ---- rows */

static char *rows_text(const struct column *columns, const json_t *rows, unsigned n_left_out,
                       unsigned bar, bool colours)
{
    const char *titles[TABLE_MAX_COLUMNS], *cells[TABLE_MAX_COLUMNS];
    char words[TABLE_MAX_COLUMNS][CELL_SIZE];
    const struct column *shown[TABLE_MAX_COLUMNS];
    unsigned highest = 0;
    struct table table;
    char *text = NULL;
    size_t n = 0, i;
    json_t *row;
    int rc;

    for (size_t c = 0; columns[c].title != NULL; c++)
        highest = columns[c].rank > highest ? columns[c].rank : highest;
    for (size_t c = 0; columns[c].title != NULL; c++) {
        if (columns[c].rank + n_left_out > highest && columns[c].rank != 0)
            continue;
        shown[n] = &columns[c];
        titles[n] = columns[c].title;
        cells[n] = words[n];
        n++;
    }
    rc = table_init(&table, titles, n);
    json_array_foreach(rows, i, row)
    {
        for (size_t c = 0; c < n; c++)
            shown[c]->cell(row, (struct bar_look){bar, colours}, words[c], CELL_SIZE);
        if (rc == 0)
            rc = table_add(&table, cells);
    }
    if (rc == 0)
        text = table_render(&table, colours);
    table_deinit(&table);
    return text;
}

static size_t widest(const char *text)
{
    size_t n = 0;

    while (text != NULL && *text != '\0') {
        size_t width = text_width(text);

        n = width > n ? width : n;
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return n;
}

/* As many columns as fit, and bars as long as there is room. */
static char *fitted(const struct column *columns, const json_t *rows, const struct top_look *look)
{
    unsigned n_columns = 0;

    if (look->width == 0)
        return rows_text(columns, rows, 0, BAR_NORMAL, look->colours);
    while (columns[n_columns].title != NULL)
        n_columns++;
    for (unsigned left_out = 0; left_out < n_columns; left_out++) {
        cleanup_free char *text = rows_text(columns, rows, left_out, BAR_MIN, look->colours);
        size_t width = widest(text);
        unsigned bar = BAR_MIN;

        if (text == NULL || (width > look->width && left_out + 1 < n_columns))
            continue;
        if (width < look->width)
            bar += (look->width - (unsigned)width) / 2;
        return rows_text(columns, rows, left_out, bar < BAR_WIDE ? bar : BAR_WIDE, look->colours);
    }
    return NULL;
}

/* ---- the whole */

static void print_head(FILE *out, const json_t *top)
{
    time_t seconds = (time_t)(number_of(top, "time_ms") / 1000);
    char when[16] = "";
    struct tm local;

    localtime_r(&seconds, &local);
    strftime(when, sizeof(when), "%H:%M:%S", &local);
    fprintf(out, "%s  leader %s%s, %d nodes up, %d lost; %d guest%s, %d running, %d pending", when,
            text_of(top, "leader")[0] != '\0' ? text_of(top, "leader") : "none",
            json_is_true(json_object_get(top, "quorum")) ? "" : " (no quorum)",
            (int)number_of(top, "nodes_up"), (int)number_of(top, "nodes_lost"),
            (int)number_of(top, "guests_total"), number_of(top, "guests_total") == 1 ? "" : "s",
            (int)number_of(top, "guests_running"), (int)number_of(top, "guests_pending"));
    fprintf(out, "; cluster %.*s\n", CLUSTER_WORDS, text_of(top, "cluster"));
}

static void print_all(FILE *out, const json_t *top, const struct top_look *look)
{
    cleanup_free char *nodes = fitted(node_columns, json_object_get(top, "nodes"), look);
    cleanup_free char *guests = fitted(guest_columns, json_object_get(top, "guests"), look);
    json_t *warning;
    size_t i;

    print_head(out, top);
    fprintf(out, "\n%s", nodes != NULL ? nodes : "");
    fprintf(out, "%sbars: %s%s\n", look->colours ? "\x1b[2m" : "", LINKS_LEGEND,
            look->colours ? "\x1b[0m" : "");
    json_array_foreach(json_object_get(top, "warnings"), i, warning)
    {
        fprintf(out, "%swarning: %s%s\n", look->colours ? "\x1b[33m" : "",
                json_string_value(warning), look->colours ? "\x1b[0m" : "");
    }
    if (json_array_size(json_object_get(top, "guests")) > 0)
        fprintf(out, "\n%s", guests != NULL ? guests : "");
}

static void print_line(FILE *out, const char *line, const struct top_look *look)
{
    size_t n = 0;

    for (; *line != '\0' && *line != '\n'; line++) {
        if (*line == '\x1b') {
            for (; *line != 'm' && line[1] != '\0'; line++)
                fputc(*line, out);
        } else if (look->width != 0 && n >= look->width) {
            continue;
        } else {
            n += ((unsigned char)*line & 0xc0) != 0x80;
        }
        fputc(*line, out);
    }
    fputc('\n', out);
}

static size_t count_lines(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

/* What does not fit into the window is counted in its last line. */
static void print_cut(FILE *out, const char *text, const struct top_look *look)
{
    size_t n = count_lines(text),
           room = look->height == 0 || n <= look->height ? n : look->height - 1;

    for (size_t i = 0; i < room; i++) {
        print_line(out, text, look);
        text += strcspn(text, "\n") + 1;
    }
    if (room < n) {
        char line[64];

        snprintf(line, sizeof(line), "(%zu more lines)", n - room);
        print_line(out, line, look);
    }
}

static char *whole_text(const json_t *top, const struct top_look *look)
{
    const char *reason = text_of(top, "reason");
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    if (look->trouble != NULL)
        fprintf(out, "%s%s%s\n", look->colours ? "\x1b[31m" : "", look->trouble,
                look->colours ? "\x1b[0m" : "");
    if (top != NULL && json_is_true(json_object_get(top, "initialised")))
        print_all(out, top, look);
    else if (top != NULL)
        fprintf(out, "not initialised: %s\n",
                reason[0] != '\0' ? reason : "run skein init or skein join TOKEN");
    return fclose(out) == 0 ? text : NULL;
}

char *top_render(const json_t *top, const struct top_look *look)
{
    cleanup_free char *whole = whole_text(top, look);
    char *text = NULL;
    size_t size = 0;
    FILE *out = whole != NULL ? open_memstream(&text, &size) : NULL;

    if (out == NULL)
        return NULL;
    print_cut(out, whole, look);
    return fclose(out) == 0 ? text : NULL;
}
