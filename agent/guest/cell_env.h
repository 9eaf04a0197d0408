/* cell_env: the environment of what runs in a cell (pure). */
#ifndef SKEIN_AGENT_GUEST_CELL_ENV_H
#define SKEIN_AGENT_GUEST_CELL_ENV_H

#include "consensus/types.h"

/* NULL-terminated: defaults that the spec does not set itself, then the spec's. One block for
 * free(); the strings are the spec's or constants. NULL: no memory. */
char **cell_env_new(const struct guest_spec *spec);

#endif
