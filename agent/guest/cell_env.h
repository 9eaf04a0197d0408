/* cell_env: the environment of what runs in a cell (pure). */
#ifndef SKEIN_AGENT_GUEST_CELL_ENV_H
#define SKEIN_AGENT_GUEST_CELL_ENV_H

#include "consensus/types.h"

/* NULL-terminated: defaults that the spec does not set itself, then the spec's. One block for
 * free(); the strings are the spec's or constants. NULL: no memory. */
char **cell_env_new(const struct guest_spec *spec);

/* "UID:GID" for cell-init into ret[CELL_IDS_SIZE]. */
char *cell_ids_format(const struct guest_spec *spec, char *ret);
/* Where the guest's commands start. */
const char *cell_directory(const struct guest_spec *spec);

#endif
