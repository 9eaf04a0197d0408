/* aside: directories on disk that are nobody's any more (shell). To remove one takes as long as its
 * files are many; so it is first renamed, within its directory and to a name with a dot before it,
 * by which nobody finds it, and removed later, by a job. A power-off between the two costs nothing.
 */
#ifndef SKEIN_AGENT_GUARD_ASIDE_POSIX_H
#define SKEIN_AGENT_GUARD_ASIDE_POSIX_H

#include <dirent.h>

#include "base/err.h"

/* Sets an entry of the directory aside; quick. 0 or -errno. */
int aside_put(DIR *directory, const char *entry);

/* Removes what was set aside in the directory of this path. */
int aside_drop(const char *path, struct err *err);

/* In a new boot, before any guest is taken up: sets aside what guests of before wrote, but for those
 * whose files are kept for their next start here (the others were lost with the boot, or were being
 * moved), and removes what moves left of logs. */
void aside_put_earlier_guests(void);

#endif
