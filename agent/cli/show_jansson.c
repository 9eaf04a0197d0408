#include "agent/cli/show_jansson.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/cli/cells_jansson.h"
#include "agent/cli/show_guest_jansson.h"
#include "agent/cli/show_links_jansson.h"
#include "agent/cli/table.h"
#include "base/clean.h"

struct column {
    const char *title, *key;
    /* Writes the value for people; NULL: as it is. */
    void (*format)(const json_t *value, char *ret, size_t size);
};

static const struct column node_columns[] = {
    {"NAME", "name", NULL},
    {"ID", "id", NULL},
    {"ROLE", "role", NULL},
    {"STATE", "state", NULL},
    {"LEADER", "leader", cell_star},
    {"CORES", "cores_isolated", NULL},
    {"FREE", "cores_free", NULL},
    {"MEMORY", "memory_mib", cell_mib},
    {"FREE", "memory_free_mib", cell_mib},
    {"ADDRESS", "address", NULL},
    {NULL, NULL, NULL},
};

static const struct column guest_columns[] = {
    {"NAME", "name", NULL},         {"KIND", "kind", NULL}, {"STATE", "state", NULL},
    {"HEALTH", "health", NULL},     {"NODE", "node", NULL}, {"EPOCH", "epoch", NULL},
    {"CORES", "cores", cell_cores}, {"IP", "ip", NULL},     {"SLICE", "slice", NULL},
    {"IMAGE", "image", NULL},       {NULL, NULL, NULL},
};

static const struct column slice_columns[] = {
    {"NAME", "name", NULL},           {"VNI", "vni", NULL},       {"SUBNET", "subnet", NULL},
    {"RATE", "rate_kbps", cell_kbps}, {"GUESTS", "guests", NULL}, {NULL, NULL, NULL},
};

static const struct column image_columns[] = {
    {"NAME", "name", NULL},
    {"FORMAT", "format", NULL},
    {"DIGEST", "digest", cell_digest},
    {"SIZE", "size_bytes", cell_size},
    {"COPIES", "copies", NULL},
    {"HOLDERS", "holders", NULL},
    {"GUESTS", "guests", NULL},
    {NULL, NULL, NULL},
};

static const struct column plan_columns[] = {
    {"NODE", "node", NULL},
    {"VERDICT", "verdict", NULL},
    {"REASON", "reason", NULL},
    {NULL, NULL, NULL},
};

static const struct column reason_columns[] = {
    {"SEVERITY", "severity", NULL},
    {"CODE", "code", NULL},
    {"REASON", "text", NULL},
    {NULL, NULL, NULL},
};

static const struct column migration_columns[] = {
    {"ID", "id", NULL},
    {"GUEST", "guest", NULL},
    {"FROM", "from", NULL},
    {"TO", "to", NULL},
    {"PHASE", "phase", NULL},
    {"STEP", "step", NULL},
    {"BYTES", "bytes", cell_size},
    {"REASON", "reason", NULL},
    {NULL, NULL, NULL},
};

static const struct column drain_columns[] = {
    {"GUEST", "guest", NULL},
    {"TO", "to", NULL},
    {"MODE", "mode", NULL},
    {"STANDS STILL", "blackout_ms", cell_ms},
    {"REASON", "reason", NULL},
    {NULL, NULL, NULL},
};

static const struct column status_columns[] = {
    {"NODE", "name", NULL},       {"STATE", "state", NULL},
    {"ROLE", "role", NULL},       {"LEADER", "leader", cell_star},
    {"PRESENT", "present", NULL}, {"BACKHAUL", "backhaul_permille", cell_permille},
    {NULL, NULL, NULL},
};

/* How single values of an object are written. */
static const struct column formats[] = {
    {NULL, "memory_mib", cell_mib},
    {NULL, "memory_free_mib", cell_mib},
    {NULL, "rate_kbps", cell_kbps},
    {NULL, "backhaul_kbps", cell_kbps},
    {NULL, "size_bytes", cell_size},
    {NULL, "bytes", cell_size},
    {NULL, "memory_bytes", cell_size},
    {NULL, "memory_limit_bytes", cell_size},
    {NULL, "sent_bytes", cell_size},
    {NULL, "received_bytes", cell_size},
    {NULL, "blackout_ms", cell_ms},
    {NULL, "total_ms", cell_ms},
    {NULL, "cores", cell_cores},
    {NULL, "backhaul_permille", cell_permille},
    {NULL, "heard_by_others", cell_others},
    {NULL, "volumes", guest_volumes_format},
    {NULL, "losses", guest_losses_format},
};

static void format_cell(const struct column *column, const json_t *row, char *ret, size_t size)
{
    const json_t *value = json_object_get(row, column->key);

    ret[0] = '\0';
    if (value == NULL || json_is_null(value))
        return;
    (column->format != NULL ? column->format : cell_plain)(value, ret, size);
}

static char *show_rows(const struct column *columns, const json_t *rows, bool colours)
{
    const char *titles[TABLE_MAX_COLUMNS], *cells[TABLE_MAX_COLUMNS];
    char words[TABLE_MAX_COLUMNS][CELL_SIZE];
    struct table table;
    size_t n = 0, i;
    json_t *row;
    char *text = NULL;
    int rc;

    for (; columns[n].title != NULL; n++) {
        titles[n] = columns[n].title;
        cells[n] = words[n];
    }
    rc = table_init(&table, titles, n);
    json_array_foreach(rows, i, row)
    {
        for (size_t c = 0; c < n; c++)
            format_cell(&columns[c], row, words[c], CELL_SIZE);
        if (rc == 0)
            rc = table_add(&table, cells);
    }
    if (rc == 0)
        text = table_render(&table, colours);
    table_deinit(&table);
    return text;
}

static void print_object(FILE *out, const json_t *object, bool colours)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        struct column column = {NULL, key, NULL};
        char cell[1024];

        if (strcmp(key, "uplink") == 0) {
            links_print(out, value, colours);
            continue;
        }
        for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
            if (strcmp(formats[i].key, key) == 0)
                column.format = formats[i].format;
        }
        format_cell(&column, object, cell, sizeof(cell));
        fprintf(out, "%-18s %s\n", key, cell[0] != '\0' ? cell : "-");
    }
}

static void print_status(FILE *out, const json_t *status, bool colours)
{
    cleanup_free char *nodes = NULL;
    const char *reason = json_string_value(json_object_get(status, "reason"));
    char guests[32];
    json_t *warning;
    size_t i;

    if (!json_is_true(json_object_get(status, "initialised"))) {
        fprintf(out, "not initialised: %s\n",
                reason != NULL ? reason : "run skein init or skein join TOKEN");
        return;
    }
    snprintf(guests, sizeof(guests), "%" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(status, "guests_total")));
    fprintf(out, "cluster  %s, profile %s\nleader   %s%s\nnodes    %d up, %d lost\n",
            json_string_value(json_object_get(status, "cluster")),
            json_string_value(json_object_get(status, "profile")),
            json_is_string(json_object_get(status, "leader"))
                ? json_string_value(json_object_get(status, "leader"))
                : "none",
            json_is_true(json_object_get(status, "quorum")) ? "" : " (no quorum)",
            (int)json_integer_value(json_object_get(status, "nodes_up")),
            (int)json_integer_value(json_object_get(status, "nodes_lost")));
    fprintf(out, "guests   %s, %d running, %d pending\n\n", guests,
            (int)json_integer_value(json_object_get(status, "guests_running")),
            (int)json_integer_value(json_object_get(status, "guests_pending")));
    nodes = show_rows(status_columns, json_object_get(status, "nodes"), colours);
    fputs(nodes != NULL ? nodes : "", out);
    json_array_foreach(json_object_get(status, "warnings"), i, warning)
    {
        fprintf(out, "%swarning: %s%s\n", colours ? "\x1b[33m" : "", json_string_value(warning),
                colours ? "\x1b[0m" : "");
    }
}

static void print_plan(FILE *out, const json_t *plan, bool colours)
{
    cleanup_free char *rows = show_rows(plan_columns, json_object_get(plan, "nodes"), colours);
    char cores[CELL_SIZE];

    fputs(rows != NULL ? rows : "", out);
    cell_cores(json_object_get(plan, "cores"), cores, sizeof(cores));
    if (!json_is_string(json_object_get(plan, "chosen")))
        fputs("it fits nowhere\n", out);
    else if (cores[0] != '\0')
        fprintf(out, "cores on %s: %s\n", json_string_value(json_object_get(plan, "chosen")),
                cores);
}

/* The verdict, every reason, and where it could go. */
static void print_check(FILE *out, const json_t *check, bool colours)
{
    cleanup_free char *reasons =
        show_rows(reason_columns, json_object_get(check, "reasons"), colours);
    cleanup_free char *nodes = show_rows(plan_columns, json_object_get(check, "nodes"), colours);
    const char *mode = json_string_value(json_object_get(check, "mode"));
    char memory[CELL_SIZE], files[CELL_SIZE], dirty[CELL_SIZE];

    cell_size(json_object_get(check, "memory_bytes"), memory, sizeof(memory));
    cell_size(json_object_get(check, "files_bytes"), files, sizeof(files));
    fprintf(out, "%s: %s%s%s\nprocesses %d, memory %s, files %s",
            json_string_value(json_object_get(check, "guest")),
            json_string_value(json_object_get(check, "verdict")), mode != NULL ? ", " : "",
            mode != NULL ? mode : "", (int)json_integer_value(json_object_get(check, "processes")),
            memory, files);
    if (json_integer_value(json_object_get(check, "files_ahead_bytes")) > 0) {
        cell_size(json_object_get(check, "files_ahead_bytes"), files, sizeof(files));
        fprintf(out, " (%s while it runs)", files);
    }
    cell_size(json_object_get(check, "dirty_bytes_per_s"), dirty, sizeof(dirty));
    fprintf(out, ", writes %s/s", dirty);
    if (json_is_integer(json_object_get(check, "blackout_ms")))
        fprintf(out,
                "\nit will stand still for about %" JSON_INTEGER_FORMAT
                " ms, and has moved after about %" JSON_INTEGER_FORMAT " ms",
                json_integer_value(json_object_get(check, "blackout_ms")),
                json_integer_value(json_object_get(check, "total_ms")));
    fputs("\n\n", out);
    if (json_array_size(json_object_get(check, "reasons")) > 0)
        fprintf(out, "%s\n", reasons != NULL ? reasons : "");
    fputs(nodes != NULL ? nodes : "", out);
}

static const struct column *columns_of(const char *method)
{
    static const struct {
        const char *method;
        const struct column *columns;
    } lists[] = {
        {"node.list", node_columns},           {"guest.list", guest_columns},
        {"slice.list", slice_columns},         {"image.list", image_columns},
        {"migration.list", migration_columns},
    };

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (strcmp(lists[i].method, method) == 0)
            return lists[i].columns;
    }
    return NULL;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "-";
}

static void print_migrated(FILE *out, const json_t *result)
{
    const json_t *ms = json_object_get(result, "blackout_ms");
    char blackout[CELL_SIZE] = "not known";

    if (json_is_number(ms))
        cell_ms(ms, blackout, sizeof(blackout));
    fprintf(out, "%s: %s -> %s, %s, blackout %s, %.0f ms in all\n", text_of(result, "guest"),
            text_of(result, "from"), text_of(result, "to"), text_of(result, "mode"), blackout,
            json_number_value(json_object_get(result, "total_ms")));
}

/* One line of success for what changed something. */
static void print_done(FILE *out, const char *method, const json_t *result)
{
    char cores[CELL_SIZE];

    cell_cores(json_object_get(result, "cores"), cores, sizeof(cores));
    if (strcmp(method, "token.create") == 0)
        fprintf(out, "%s\n", text_of(result, "token"));
    else if (strcmp(method, "guest.run") == 0 || strcmp(method, "guest.start") == 0)
        fprintf(out, "%s: on %s%s%s\n", text_of(result, "name"), text_of(result, "node"),
                cores[0] != '\0' ? ", cores " : "", cores);
    else if (strcmp(method, "image.gc") == 0)
        fprintf(out, "%d %s dropped\n",
                (int)json_integer_value(json_object_get(result, "released")),
                json_integer_value(json_object_get(result, "released")) == 1 ? "copy" : "copies");
    else if (strcmp(method, "guest.migrate") == 0)
        print_migrated(out, result);
    else if (strcmp(method, "migration.cancel") == 0)
        fprintf(out, "migration %d: cancelled\n",
                (int)json_integer_value(json_object_get(result, "id")));
    else if (strcmp(method, "cluster.init") == 0 || strcmp(method, "cluster.join") == 0)
        fprintf(out, "%s is node %d of cluster %s\n", text_of(result, "name"),
                (int)json_integer_value(json_object_get(result, "id")), text_of(result, "cluster"));
    else
        fprintf(out, "%s: done\n", text_of(result, "name"));
}

static bool is_show(const char *method)
{
    const char *dot = strchr(method, '.');

    return dot != NULL && (strcmp(dot, ".show") == 0 || strcmp(dot, ".stats") == 0);
}

char *show_table(const char *method, const json_t *result, bool colours)
{
    const struct column *columns = columns_of(method);
    char *text = NULL;
    size_t size = 0;
    FILE *out;

    if (columns != NULL)
        return show_rows(columns, result, colours);
    if (json_is_array(json_object_get(result, "guests"))) /* a drain's dry run */
        return show_rows(drain_columns, json_object_get(result, "guests"), colours);
    out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    if (strcmp(method, "status") == 0)
        print_status(out, result, colours);
    else if (strcmp(method, "guest.plan") == 0)
        print_plan(out, result, colours);
    else if (strcmp(method, "guest.check") == 0)
        print_check(out, result, colours);
    else if (is_show(method))
        print_object(out, result, colours);
    else
        print_done(out, method, result);
    return fclose(out) == 0 ? text : NULL;
}

char *show_json(const json_t *result)
{
    char *text = json_dumps(result, JSON_INDENT(2) | JSON_ENCODE_ANY);
    char *line = NULL;

    if (text != NULL && asprintf(&line, "%s\n", text) < 0)
        line = NULL;
    free(text);
    return line;
}

char *show_event(const json_t *record)
{
    json_int_t ms = json_integer_value(json_object_get(record, "time_ms"));
    time_t seconds = (time_t)(ms / 1000);
    char when[16] = "";
    struct tm local;
    char *line = NULL;
    const char *guest = json_string_value(json_object_get(record, "guest"));
    const char *node = json_string_value(json_object_get(record, "node"));

    localtime_r(&seconds, &local);
    strftime(when, sizeof(when), "%H:%M:%S", &local);
    if (asprintf(&line, "%s.%03d  %-22s %s%s%s  %s\n", when, (int)(ms % 1000),
                 text_of(record, "what"), guest != NULL ? guest : "",
                 guest != NULL && node != NULL ? " on " : "", node != NULL ? node : "",
                 text_of(record, "text")) < 0)
        return NULL;
    return line;
}

int show_exit_code(const char *method, const json_t *result)
{
    const json_t *row;
    size_t i;

    json_array_foreach(json_object_get(result, "guests"), i, row)
    {
        if (strncmp(method, "node.", 5) == 0 && json_is_false(json_object_get(row, "goes")))
            return 3;
    }
    if (strcmp(method, "guest.check") == 0)
        return strcmp(text_of(result, "verdict"), "possible") == 0 ? 0 : 3;
    return strcmp(method, "guest.plan") == 0 && !json_is_string(json_object_get(result, "chosen"))
               ? 3
               : 0;
}

const char *show_progress_bar(const json_t *migration, char ret[BAR_SIZE])
{
    json_int_t total = json_integer_value(json_object_get(migration, "total_bytes"));
    const struct bar_part done = {
        .letter = '#',
        .amount = (uint64_t)json_integer_value(json_object_get(migration, "done_bytes"))};

    ret[0] = '\0';
    return total > 0 ? bar_render(&done, 1, (uint64_t)total, 24, false, ret) : ret;
}
