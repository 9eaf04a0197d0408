/* show_output: results in the format that was asked for. */
#ifndef SKEIN_AGENT_CLI_SHOW_OUTPUT_JANSSON_H
#define SKEIN_AGENT_CLI_SHOW_OUTPUT_JANSSON_H

#include <jansson.h>
#include <stdbool.h>

enum show_format { SHOW_TABLE = 0, SHOW_JSON, SHOW_YAML, SHOW_CSV };

/* A word of args.h's VALUE_FORMAT; NULL is a table. */
enum show_format show_format_of(const char *word);
/* The text of `result` as answered to `method`; heap, NULL without memory. Ends with a line break
 * unless empty. */
char *show_result(enum show_format format, const char *method, const json_t *result, bool colours);
/* One record as a part of an output that goes on: a line, or an item of a YAML list. `columns` (of
 * CSV) is NULL before the first one; the caller ends it. */
char *show_record(enum show_format format, const json_t *record, json_t **columns);

#endif
