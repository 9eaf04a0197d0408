#include "agent/guard/aside_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/guest/guest.h"
#include "base/log.h"
#include "base/tree_posix.h"

int aside_put(DIR *directory, const char *entry)
{
    char aside[sizeof(((struct dirent *)0)->d_name)];
    unsigned n = 0;
    int r;

    do {
        if (snprintf(aside, sizeof(aside), ".%u.%.200s", n, entry) >= (int)sizeof(aside))
            return -ENAMETOOLONG;
        r = renameat(dirfd(directory), entry, dirfd(directory), aside);
    } while (r < 0 && (errno == ENOTEMPTY || errno == EEXIST) && ++n < 1000);
    return r < 0 ? -errno : 0;
}

int aside_drop(const char *path, struct err *err)
{
    const struct dirent *entry;
    DIR *directory = opendir(path);
    int r = 0;

    if (directory == NULL)
        return err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
    while (r == 0 && (entry = readdir(directory)) != NULL) {
        char aside[512];

        if (entry->d_name[0] != '.' || strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(aside, sizeof(aside), "%s/%s", path, entry->d_name);
        r = tree_remove(aside, err);
    }
    closedir(directory);
    return r;
}

static bool is_kept(DIR *guests, const char *name)
{
    char mark[300];

    snprintf(mark, sizeof(mark), "%s/" GUEST_KEPT, name);
    return faccessat(dirfd(guests), mark, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static void put_files(void)
{
    DIR *guests = opendir(GUEST_FILES);
    const struct dirent *entry;

    while (guests != NULL && (entry = readdir(guests)) != NULL) {
        int r;

        if (entry->d_name[0] == '.' || is_kept(guests, entry->d_name))
            continue;
        r = aside_put(guests, entry->d_name);
        if (r < 0)
            log_warn("cannot set the files of guest %s aside: %s", entry->d_name, strerror(-r));
        else
            log_info("the files of guest %s are of an earlier boot: they go", entry->d_name);
    }
    if (guests != NULL)
        closedir(guests);
}

static void remove_logs(void)
{
    DIR *logs = opendir(GUEST_LOGS);
    const struct dirent *entry;

    while (logs != NULL && (entry = readdir(logs)) != NULL) {
        size_t size = strlen(entry->d_name), end = strlen(".new");

        if (size > end && strcmp(entry->d_name + size - end, ".new") == 0)
            unlinkat(dirfd(logs), entry->d_name, 0);
    }
    if (logs != NULL)
        closedir(logs);
}

void aside_put_earlier_guests(void)
{
    put_files();
    remove_logs();
}
