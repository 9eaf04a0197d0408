/* params_jansson: a parsed command line as the parameters of an API request. */
#ifndef SKEIN_AGENT_CLI_PARAMS_JANSSON_H
#define SKEIN_AGENT_CLI_PARAMS_JANSSON_H

#include <jansson.h>

#include "agent/cli/args.h"

/* A new object; NULL without memory. Repeated flags are arrays, labels objects, what follows `--`
 * is "argv". */
json_t *params_of(const struct args *args);

#endif
