/* core_list: cores as people write them: "0-3,6" (pure). */
#ifndef SKEIN_AGENT_CLI_CORE_LIST_H
#define SKEIN_AGENT_CLI_CORE_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"

enum { CORE_LIST_MAX = MAX_CORES };

/* `cores` in any order, each once; they are sorted. Cut after a whole range, with "…", when it is
 * too long; "" for none. */
void core_list_format(uint16_t *cores, size_t n, char *ret, size_t size);

#endif
