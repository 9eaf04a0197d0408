/* show_jansson: results of the API as text, for people (table) or programs (JSON). */
#ifndef SKEIN_AGENT_CLI_SHOW_JANSSON_H
#define SKEIN_AGENT_CLI_SHOW_JANSSON_H

#include <jansson.h>
#include <stdbool.h>

#include "agent/cli/bar.h"

/* The text of `result` as answered to `method`; heap, NULL without memory. Ends with a line
 * break unless empty. */
char *show_table(const char *method, const json_t *result, bool colours);
char *show_json(const json_t *result);
/* One record of `events`, for people, one line. */
char *show_event(const json_t *record);
/* The exit code of a result that is no error: 3 for a plan that found no place. */
int show_exit_code(const char *method, const json_t *result);

/* How far a move is, as a bar; "" of no migration. Returns `ret`. */
const char *show_progress_bar(const json_t *migration, char ret[BAR_SIZE]);

#endif
