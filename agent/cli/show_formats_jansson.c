#include "agent/cli/show_formats_jansson.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clean.h"

enum { INDENT = 2 };

/* ---- YAML */

/* What a reader of YAML 1.1 or 1.2 takes for no string. */
static bool is_reserved(const char *text)
{
    static const char *const words[] = {"null", "true", "false", "yes", "no",
                                        "on",   "off",  "y",     "n"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

static bool is_plain(const char *text)
{
    if (!isalpha((unsigned char)text[0]) && text[0] != '_')
        return false;
    for (const char *p = text; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && strchr("_-./", *p) == NULL)
            return false;
    }
    return !is_reserved(text);
}

static void yaml_text(FILE *out, const char *text)
{
    if (is_plain(text)) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            fprintf(out, "\\%c", *p);
        else if (*p == '\n')
            fputs("\\n", out);
        else if ((unsigned char)*p < 0x20 || *p == 0x7f)
            fprintf(out, "\\x%02x", (unsigned char)*p);
        else
            fputc(*p, out);
    }
    fputc('"', out);
}

static bool is_empty(const json_t *value)
{
    return (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

static bool is_nested(const json_t *value)
{
    return (json_is_array(value) || json_is_object(value)) && !is_empty(value);
}

static void yaml_scalar(FILE *out, const json_t *value)
{
    cleanup_free char *text = NULL;

    if (json_is_string(value)) {
        yaml_text(out, json_string_value(value));
        return;
    }
    text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    fputs(text != NULL ? text : "null", out);
}

static void yaml_value(FILE *out, const json_t *value, int indent);

/* Lines of an object; the first one begins where `out` is. */
static void yaml_object(FILE *out, const json_t *object, int indent)
{
    const char *key;
    json_t *value;
    bool is_first = true;

    json_object_foreach((json_t *)object, key, value)
    {
        if (!is_first)
            fprintf(out, "%*s", indent, "");
        is_first = false;
        yaml_text(out, key);
        fputc(':', out);
        if (is_nested(value)) {
            fprintf(out, "\n%*s", indent + INDENT, "");
            yaml_value(out, value, indent + INDENT);
            continue;
        }
        fputc(' ', out);
        yaml_scalar(out, value);
        fputc('\n', out);
    }
}

static void yaml_value(FILE *out, const json_t *value, int indent)
{
    json_t *item;
    size_t i;

    if (!is_nested(value)) {
        yaml_scalar(out, value);
        fputc('\n', out);
    } else if (json_is_object(value)) {
        yaml_object(out, value, indent);
    } else {
        json_array_foreach(value, i, item)
        {
            fprintf(out, "%*s- ", i > 0 ? indent : 0, "");
            yaml_value(out, item, indent + INDENT);
        }
    }
}

static char *yaml(const json_t *value, bool is_item)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    if (is_item)
        fputs("- ", out);
    yaml_value(out, value, is_item ? INDENT : 0);
    return fclose(out) == 0 ? text : NULL;
}

char *show_yaml(const json_t *value)
{
    return yaml(value, false);
}

char *show_yaml_item(const json_t *value)
{
    return yaml(value, true);
}

/* ---- CSV */

static void csv_text(FILE *out, const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (const char *p = text; *p != '\0'; p++)
        fprintf(out, *p == '"' ? "\"%c" : "%c", *p);
    fputc('"', out);
}

/* Numbers, and words that stay whole when blanks stand between them. */
static bool is_list_of_words(const json_t *value)
{
    const char *word;
    json_t *item;
    size_t i;

    if (!json_is_array(value))
        return false;
    json_array_foreach(value, i, item)
    {
        word = json_string_value(item);
        if (!json_is_number(item) &&
            (word == NULL || word[0] == '\0' || strpbrk(word, " \t\r\n") != NULL))
            return false;
    }
    return true;
}

static void csv_value(FILE *out, const json_t *value)
{
    cleanup_free char *text = NULL;
    json_t *item;
    size_t i;

    if (value == NULL || json_is_null(value))
        return;
    if (json_is_string(value)) {
        csv_text(out, json_string_value(value));
    } else if (is_list_of_words(value)) {
        json_array_foreach(value, i, item)
        {
            fputs(i > 0 ? " " : "", out);
            csv_value(out, item);
        }
    } else {
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        csv_text(out, text != NULL ? text : "");
    }
}

static void csv_row(FILE *out, const json_t *columns, const json_t *row)
{
    json_t *column;
    size_t i;

    json_array_foreach(columns, i, column)
    {
        fputs(i > 0 ? "," : "", out);
        csv_value(out, row != NULL ? json_object_get(row, json_string_value(column)) : column);
    }
    fputs("\r\n", out);
}

static bool has_column(const json_t *columns, const char *key)
{
    json_t *column;
    size_t i;

    json_array_foreach(columns, i, column)
    {
        if (strcmp(json_string_value(column), key) == 0)
            return true;
    }
    return false;
}

static void add_columns(json_t *columns, const json_t *row)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)row, key, value)
    {
        if (!has_column(columns, key))
            json_array_append_new(columns, json_string(key));
    }
}

/* `row` NULL: the header. */
static char *csv_line(const json_t *columns, const json_t *row)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    csv_row(out, columns, row);
    return fclose(out) == 0 ? text : NULL;
}

char *show_csv_row(const json_t *columns, const json_t *row)
{
    return csv_line(columns, row);
}

char *show_csv_header(const json_t *row, json_t **ret_columns)
{
    json_t *columns = json_array();

    if (columns == NULL)
        return NULL;
    add_columns(columns, row);
    *ret_columns = columns;
    return csv_line(columns, NULL);
}

static void csv_rows(FILE *out, const json_t *columns, const json_t *value)
{
    json_t *row;
    size_t i;

    csv_row(out, columns, NULL);
    if (json_is_object(value))
        csv_row(out, columns, value);
    json_array_foreach(value, i, row)
        csv_row(out, columns, row);
}

char *show_csv(const json_t *value)
{
    json_t *columns = json_array(), *row;
    char *text = NULL;
    size_t size = 0, i;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL) {
        json_decref(columns);
        return NULL;
    }
    if (json_is_object(value))
        add_columns(columns, value);
    json_array_foreach(value, i, row)
        add_columns(columns, row);
    if (json_array_size(columns) > 0) /* an empty list has no keys, and no line */
        csv_rows(out, columns, value);
    json_decref(columns);
    return fclose(out) == 0 ? text : NULL;
}
