#include "agent/guest/room_posix.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "agent/guest/guest.h"

/* Of the directory, or of the nearest one above it that is there: it will be made in that. */
static bool measure(const char *directory, uint64_t *ret_bytes, dev_t *ret_device)
{
    struct statvfs status;
    struct stat place;
    char path[128];
    char *slash;

    snprintf(path, sizeof(path), "%s", directory);
    while (stat(path, &place) < 0) {
        slash = strrchr(path, '/');
        if (slash == NULL || slash == path)
            return false;
        *slash = '\0';
    }
    if (statvfs(path, &status) < 0)
        return false;
    *ret_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    *ret_device = place.st_dev;
    return true;
}

void guest_room(struct node_room *ret)
{
    dev_t files, volumes, memory;

    *ret = (struct node_room){0};
    if (!measure(GUEST_FILES, &ret->files_bytes, &files) ||
        !measure(GUEST_VOLUMES, &ret->volumes_bytes, &volumes) ||
        !measure(GUEST_MEMORY, &ret->memory_bytes, &memory))
        return;
    ret->is_one = files == volumes;
    ret->is_known = true;
}
