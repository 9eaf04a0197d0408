/* kept: the note that what a guest wrote outlives the end of its copy here, for a later start of
 * the same guest (shell: a file beside it).
 */
#ifndef SKEIN_AGENT_GUARD_KEPT_POSIX_H
#define SKEIN_AGENT_GUARD_KEPT_POSIX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* `created`: which guest of that name it is. */
int kept_note(const char *guest, uint64_t created, struct err *err);
/* What was kept is this guest's, and not that of an earlier one of its name. */
bool kept_is_of(const char *guest, uint64_t created);
void kept_forget(const char *guest);

#endif
