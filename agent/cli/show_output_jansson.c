#include "agent/cli/show_output_jansson.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/show_formats_jansson.h"
#include "agent/cli/show_jansson.h"
#include "base/clean.h"

enum show_format show_format_of(const char *word)
{
    static const char *const words[] = {
        [SHOW_TABLE] = "table", [SHOW_JSON] = "json", [SHOW_YAML] = "yaml", [SHOW_CSV] = "csv"};

    for (int i = SHOW_JSON; word != NULL && i <= SHOW_CSV; i++) {
        if (strcmp(words[i], word) == 0)
            return (enum show_format)i;
    }
    return SHOW_TABLE;
}

char *show_result(enum show_format format, const char *method, const json_t *result, bool colours)
{
    switch (format) {
    case SHOW_JSON:
        return show_json(result);
    case SHOW_YAML:
        return show_yaml(result);
    case SHOW_CSV:
        return show_csv(result);
    case SHOW_TABLE:
        break;
    }
    return show_table(method, result, colours);
}

/* The header, once, and the row. */
static char *csv_record(const json_t *record, json_t **columns)
{
    cleanup_free char *header = *columns == NULL ? show_csv_header(record, columns) : strdup("");
    cleanup_free char *row = *columns != NULL ? show_csv_row(*columns, record) : NULL;
    char *both = NULL;

    return header == NULL || row == NULL || asprintf(&both, "%s%s", header, row) < 0 ? NULL : both;
}

char *show_record(enum show_format format, const json_t *record, json_t **columns)
{
    cleanup_free char *json = NULL;
    char *line = NULL;

    switch (format) {
    case SHOW_JSON:
        json = json_dumps(record, JSON_COMPACT);
        return json == NULL || asprintf(&line, "%s\n", json) < 0 ? NULL : line;
    case SHOW_YAML:
        return show_yaml_item(record);
    case SHOW_CSV:
        return csv_record(record, columns);
    case SHOW_TABLE:
        break;
    }
    return show_event(record);
}
