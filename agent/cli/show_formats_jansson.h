/* show_formats: results of the API for programs that read YAML or CSV. */
#ifndef SKEIN_AGENT_CLI_SHOW_FORMATS_JANSSON_H
#define SKEIN_AGENT_CLI_SHOW_FORMATS_JANSSON_H

#include <jansson.h>
#include <stdbool.h>

/* All of these: heap, NULL without memory; end with a line break. */

/* YAML 1.2 in block style; the same keys and values as JSON. A word that a reader could take for
 * something else than a string is quoted. */
char *show_yaml(const json_t *value);
/* As an item of a list that goes on. */
char *show_yaml_item(const json_t *value);

/* RFC 4180: a header with the keys of all rows, in the order in which they first appear, and a
 * line for each object of a list, or one for an object. Nothing is null; a list of numbers or of
 * words without blanks is written with blanks between them, what is nested otherwise is JSON. */
char *show_csv(const json_t *value);
/* One line of those, without the header; `columns` holds the keys (an array of strings). */
char *show_csv_row(const json_t *columns, const json_t *row);
/* The header alone; the columns are those of `row`, which `ret_columns` (new reference) keeps. */
char *show_csv_header(const json_t *row, json_t **ret_columns);

#endif
