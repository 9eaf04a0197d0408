#include "agent/guard/volumes_posix.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/tree_posix.h"

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

static int set_aside(DIR *volumes, const char *entry)
{
    char aside[sizeof(((struct dirent *)0)->d_name)];
    unsigned n = 0;
    int r;

    do {
        if (snprintf(aside, sizeof(aside), ".%u.%.200s", n, entry) >= (int)sizeof(aside))
            return -ENAMETOOLONG;
        r = renameat(dirfd(volumes), entry, dirfd(volumes), aside);
    } while (r < 0 && (errno == ENOTEMPTY || errno == EEXIST) && ++n < 1000);
    return r < 0 ? -errno : 0;
}

static int open_volumes(DIR **ret, struct err *err)
{
    *ret = opendir(GUEST_VOLUMES);
    return *ret != NULL
               ? 0
               : err_set(err, -errno, "cannot read " GUEST_VOLUMES ": %s", strerror(errno));
}

int volumes_set_aside(const struct guard_request *request, struct err *err)
{
    const struct dirent *entry;
    DIR *volumes;
    int r = open_volumes(&volumes, err);

    if (r < 0)
        return r;
    while (r == 0 && (entry = readdir(volumes)) != NULL) {
        if (entry->d_name[0] != '.' && !is_to_stay(request, entry->d_name))
            r = set_aside(volumes, entry->d_name);
    }
    closedir(volumes);
    return r < 0 ? err_set(err, r, "cannot set volumes aside: %s", strerror(-r)) : 0;
}

int volumes_drop(struct err *err)
{
    const struct dirent *entry;
    DIR *volumes;
    int r = open_volumes(&volumes, err);

    if (r < 0)
        return r;
    while (r == 0 && (entry = readdir(volumes)) != NULL) {
        char path[sizeof(GUEST_VOLUMES) + sizeof(entry->d_name) + 1];

        if (entry->d_name[0] != '.' || strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof(path), GUEST_VOLUMES "/%s", entry->d_name);
        r = tree_remove(path, err);
    }
    closedir(volumes);
    return r;
}
