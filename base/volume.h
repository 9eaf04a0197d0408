/* volume: a directory that outlives a guest's restarts, as people write it: NAME:/path (pure).
 *
 * The name is the node's side of it, the path where the guest finds it. A path is one that needs no
 * interpretation: absolute, without empty parts, ".", "..", a slash at its end or unusual signs,
 * and not the root or a place that a guest's root has for itself.
 */
#ifndef SKEIN_BASE_VOLUME_H
#define SKEIN_BASE_VOLUME_H

#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

struct volume {
    char name[NAME_SIZE];
    char path[DIRECTORY_SIZE];
};

/* "data:/var/lib/data". -EINVAL with words; `ret` is untouched then. */
int volume_parse(const char *text, struct volume *ret, struct err *err);

/* All volumes of one guest: each is right, no name or path occurs twice, none lies within another.
 * -EINVAL with words. */
int volumes_check(const struct volume *volumes, uint32_t n, struct err *err);

#endif
