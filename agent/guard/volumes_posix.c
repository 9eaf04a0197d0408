#include "agent/guard/volumes_posix.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/guard/aside_posix.h"

bool volumes_are_kept(const struct guard_request *request, const char *name)
{
    for (uint32_t i = 0; i < request->n_keeps; i++) {
        if (strcmp(request->keeps[i], name) == 0)
            return true;
    }
    return false;
}

/* "NAME.CREATED", or with ".new" behind: what a move brought and did not put in place. */
static bool is_to_stay(const struct guard_request *request, const char *entry)
{
    char name[VOLUMES_NAME_SIZE];
    size_t size = strlen(entry), more = strlen(".new");

    if (size > more && strcmp(entry + size - more, ".new") == 0)
        size -= more;
    if (size >= sizeof(name))
        return false;
    snprintf(name, sizeof(name), "%.*s", (int)size, entry);
    return volumes_are_kept(request, name);
}

int volumes_set_aside(const struct guard_request *request, struct err *err)
{
    const struct dirent *entry;
    DIR *volumes = opendir(GUEST_VOLUMES);
    int r = 0;

    if (volumes == NULL)
        return err_set(err, -errno, "cannot read " GUEST_VOLUMES ": %s", strerror(errno));
    while (r == 0 && (entry = readdir(volumes)) != NULL) {
        if (entry->d_name[0] != '.' && !is_to_stay(request, entry->d_name))
            r = aside_put(volumes, entry->d_name);
    }
    closedir(volumes);
    return r < 0 ? err_set(err, r, "cannot set volumes aside: %s", strerror(-r)) : 0;
}
