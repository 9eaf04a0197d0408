#include "agent/cli/show_links_jansson.h"

#include <string.h>

#include "agent/cli/bar.h"
#include "agent/cli/table.h"

enum { SHOW_WIDTH = 30, CELL_SIZE = 64 };

static uint64_t number_of(const json_t *object, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(object, key));

    return v > 0 ? (uint64_t)v : 0;
}

static const char *name_of(const json_t *object, const char *key)
{
    const char *name = json_string_value(json_object_get(object, key));

    return name != NULL && name[0] != '\0' ? name : "?";
}

static const char *colour_of(char letter)
{
    static const struct {
        char letter;
        const char *colour;
    } colours[] = {
        {'c', "\x1b[36m"}, {'s', "\x1b[32m"}, {'d', "\x1b[33m"},
        {'b', "\x1b[35m"}, {'i', "\x1b[34m"},
    };

    for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++) {
        if (colours[i].letter == letter)
            return colours[i].colour;
    }
    return NULL;
}

static struct bar_part part_of(const char *name, const json_t *object)
{
    return (struct bar_part){name[0], number_of(object, "kbps"), colour_of(name[0])};
}

/* What goes out by its classes; what comes in has none. */
static size_t parts_of(const json_t *uplink, const char *way, struct bar_part ret[BAR_MAX_PARTS])
{
    const json_t *classes = json_object_get(uplink, "classes"), *class;
    size_t n = 0, i;

    if (strcmp(way, "out") == 0) {
        json_array_foreach(classes, i, class)
        {
            if (n < BAR_MAX_PARTS)
                ret[n++] = part_of(name_of(class, "class"), class);
        }
    }
    if (n == 0)
        ret[n++] = part_of(way, json_object_get(uplink, way));
    return n;
}

void links_bar(const json_t *uplink, const char *way, unsigned width, bool colours, char *ret,
               size_t size)
{
    const json_t *direction = json_object_get(uplink, way);
    uint64_t capacity = number_of(uplink, "capacity_kbps");
    struct bar_part parts[BAR_MAX_PARTS];
    size_t n = parts_of(uplink, way, parts);
    char rate[CELL_SIZE], bar[BAR_SIZE];

    ret[0] = '\0';
    if (!json_is_object(direction))
        return;
    format_rate(number_of(direction, "kbps"), rate, sizeof(rate));
    if (capacity == 0)
        snprintf(ret, size, "%s", rate);
    else
        snprintf(ret, size, "%s %s", bar_render(parts, n, capacity, width, colours, bar), rate);
}

static void print_way(FILE *out, const json_t *uplink, const char *way, bool colours)
{
    const json_t *direction = json_object_get(uplink, way);
    char bar[BAR_SIZE + CELL_SIZE], size[CELL_SIZE], label[CELL_SIZE];

    links_bar(uplink, way, SHOW_WIDTH, colours, bar, sizeof(bar));
    format_bytes(number_of(direction, "bytes"), size, sizeof(size));
    snprintf(label, sizeof(label), "uplink %s", way);
    fprintf(out, "%-18s %s; %s, %llu packets, %llu dropped\n", label, bar, size,
            (unsigned long long)number_of(direction, "packets"),
            (unsigned long long)number_of(direction, "drops"));
}

static void print_class(FILE *out, const json_t *class)
{
    char rate[CELL_SIZE], size[CELL_SIZE], backlog[CELL_SIZE];

    fprintf(out, "  %c %-14s %12s; %s, %llu packets, %llu dropped, %s waiting\n",
            name_of(class, "class")[0], name_of(class, "class"),
            format_rate(number_of(class, "kbps"), rate, sizeof(rate)),
            format_bytes(number_of(class, "bytes"), size, sizeof(size)),
            (unsigned long long)number_of(class, "packets"),
            (unsigned long long)number_of(class, "drops"),
            format_bytes(number_of(class, "backlog_bytes"), backlog, sizeof(backlog)));
}

static void print_streams(FILE *out, const json_t *streams)
{
    uint64_t n = number_of(streams, "n"), us = number_of(streams, "delay_us");
    char rate[CELL_SIZE];

    if (n == 0)
        return;
    fprintf(out, "%-18s %llu, at most %s%s; the control class waits %llu.%llu ms\n",
            "bulk streams", (unsigned long long)n,
            format_rate(number_of(streams, "allowed_kbps"), rate, sizeof(rate)),
            json_is_true(json_object_get(streams, "held_back")) ? ", held back by delay" : "",
            (unsigned long long)us / 1000, (unsigned long long)us / 100 % 10);
}

void links_print(FILE *out, const json_t *uplink, bool colours)
{
    const json_t *class;
    char rate[CELL_SIZE];
    size_t i;

    if (!json_is_object(uplink)) {
        fprintf(out, "%-18s -\n", "uplink");
        return;
    }
    fprintf(out, "%-18s %s, measured %llu ms ago\n", "uplink",
            number_of(uplink, "capacity_kbps") != 0
                ? format_rate(number_of(uplink, "capacity_kbps"), rate, sizeof(rate))
                : "capacity not configured",
            (unsigned long long)number_of(uplink, "ms_ago"));
    print_way(out, uplink, "out", colours);
    json_array_foreach(json_object_get(uplink, "classes"), i, class) print_class(out, class);
    print_way(out, uplink, "in", colours);
    print_streams(out, json_object_get(uplink, "streams"));
}

void links_others(const json_t *others, char *ret, size_t size)
{
    const json_t *other;
    size_t used = 0, i;

    ret[0] = '\0';
    json_array_foreach(others, i, other)
    {
        const json_t *heard = json_object_get(other, "heard");

        if (used < size)
            used += (size_t)snprintf(ret + used, size - used, "%s%s %s", i > 0 ? ", " : "",
                                     name_of(other, "node"),
                                     json_is_true(heard)    ? "hears it"
                                     : json_is_false(heard) ? "does not"
                                                            : "has not answered");
    }
    if (json_is_array(others) && used == 0)
        snprintf(ret, size, "nobody else can be asked");
}
