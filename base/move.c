#include "base/move.h"

#include <errno.h>
#include <string.h>

static const char *const names[] = {NULL, "auto", "stop", "pre", "post"};

const char *move_mode_name(enum move_mode v)
{
    return v >= MOVE_AUTO && v <= MOVE_POST ? names[v] : "unknown";
}

int move_mode_parse(const char *text, enum move_mode *ret)
{
    for (unsigned v = MOVE_AUTO; v <= MOVE_POST; v++) {
        if (strcmp(names[v], text) != 0)
            continue;
        *ret = (enum move_mode)v;
        return 0;
    }
    return -EINVAL;
}
