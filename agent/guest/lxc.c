#include "agent/guest/lxc.h"

#include <stdio.h>
#include <string.h>

void lxc_paths_init(struct lxc_paths *lxc, const struct guest_paths *paths)
{
    int above = (int)(strrchr(paths->merged, '/') - paths->merged);

    snprintf(lxc->home, sizeof(lxc->home), "%.*s/lxc", above, paths->merged);
    snprintf(lxc->errors, sizeof(lxc->errors), "%.159s/errors", lxc->home);
    snprintf(lxc->dev, sizeof(lxc->dev), "%.159s/dev", lxc->home);
    snprintf(lxc->console, sizeof(lxc->console), "%.90s/console.sock", lxc->home);
}
