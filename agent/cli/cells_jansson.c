#include "agent/cli/cells_jansson.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "agent/cli/core_list.h"
#include "agent/cli/show_links_jansson.h"
#include "agent/cli/table.h"

void cell_plain(const json_t *value, char *ret, size_t size)
{
    size_t used = 0;
    json_t *item;
    const char *key;
    size_t i;

    ret[0] = '\0';
    if (json_is_string(value)) {
        snprintf(ret, size, "%s", json_string_value(value));
    } else if (json_is_integer(value)) {
        snprintf(ret, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        snprintf(ret, size, "%.1f", json_real_value(value));
    } else if (json_is_boolean(value)) {
        snprintf(ret, size, "%s", json_is_true(value) ? "yes" : "no");
    } else if (json_is_array(value)) {
        json_array_foreach(value, i, item)
        {
            char cell[CELL_SIZE];

            cell_plain(item, cell, sizeof(cell));
            if (used + strlen(cell) + 2 < size)
                used += (size_t)snprintf(ret + used, size - used, "%s%s", i > 0 ? "," : "", cell);
        }
    } else if (json_is_object(value)) {
        json_object_foreach((json_t *)value, key, item)
        {
            char cell[CELL_SIZE];

            cell_plain(item, cell, sizeof(cell));
            if (used + strlen(key) + strlen(cell) + 3 < size)
                used += (size_t)snprintf(ret + used, size - used, "%s%s=%s", used > 0 ? "," : "",
                                         key, cell);
        }
    }
}

void cell_mib(const json_t *value, char *ret, size_t size)
{
    format_memory((unsigned long long)json_integer_value(value), ret, size);
}

void cell_kbps(const json_t *value, char *ret, size_t size)
{
    format_rate((unsigned long long)json_integer_value(value), ret, size);
}

void cell_size(const json_t *value, char *ret, size_t size)
{
    format_bytes((unsigned long long)json_integer_value(value), ret, size);
}

void cell_digest(const json_t *value, char *ret, size_t size)
{
    snprintf(ret, size, "%.12s", json_is_string(value) ? json_string_value(value) : "");
}

void cell_star(const json_t *value, char *ret, size_t size)
{
    snprintf(ret, size, "%s", json_is_true(value) ? "*" : "");
}

void cell_ms(const json_t *value, char *ret, size_t size)
{
    snprintf(ret, size, "%.1f ms", json_number_value(value));
}

void cell_permille(const json_t *value, char *ret, size_t size)
{
    snprintf(ret, size, "%d %%", (int)((json_integer_value(value) + 5) / 10));
}

/* Of [id], or of a node's cores: [{id, isolated, used}]. */
static size_t take_cores(const json_t *value, const char *only, uint16_t *ret)
{
    const json_t *core;
    size_t n = 0, i;

    json_array_foreach(value, i, core)
    {
        if (json_is_object(core) && only != NULL && !json_is_true(json_object_get(core, only)))
            continue;
        if (n < CORE_LIST_MAX)
            ret[n++] = (uint16_t)json_integer_value(
                json_is_object(core) ? json_object_get(core, "id") : core);
    }
    return n;
}

void cell_cores(const json_t *value, char *ret, size_t size)
{
    uint16_t cores[CORE_LIST_MAX];
    char part[CELL_SIZE];
    size_t used;

    core_list_format(cores, take_cores(value, NULL, cores), ret, size);
    if (!json_is_object(json_array_get(value, 0)))
        return;
    used = strlen(ret);
    core_list_format(cores, take_cores(value, "isolated", cores), part, sizeof(part));
    used += (size_t)snprintf(ret + used, size - used, "; isolated %s", part[0] ? part : "none");
    core_list_format(cores, take_cores(value, "used", cores), part, sizeof(part));
    if (used < size)
        snprintf(ret + used, size - used, "; used %s", part[0] ? part : "none");
}

void cell_others(const json_t *value, char *ret, size_t size)
{
    links_others(value, ret, size);
}
