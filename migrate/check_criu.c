/* What CRIU could not move, as far as a look from outside tells. The dump itself finds the rest,
 * and then the guest runs on. */
#include "migrate/mover_criu.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The identity of a process's namespace; 0: the process is gone. */
static ino_t namespace_of(pid_t pid, const char *kind)
{
    struct stat status;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kind);
    return stat(path, &status) < 0 ? 0 : status.st_ino;
}

static pid_t parent_of(pid_t pid)
{
    char path[64], line[512], *after_name;
    int parent = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fgets(line, sizeof(line), file) != NULL && (after_name = strrchr(line, ')')) != NULL)
        sscanf(after_name, ") %*c %d", &parent);
    fclose(file);
    return parent;
}

/* A process that was put into the cell from outside (guest exec) is no descendant of its init: CRIU
 * would not find it, and the move would leave it behind. */
static bool is_intruder(pid_t pid, const struct mover_guest *guest, ino_t inside)
{
    return pid != guest->pid && namespace_of(pid, "pid") == inside &&
           namespace_of(parent_of(pid), "pid") != inside;
}

static bool find_intruder(const struct mover_guest *guest, ino_t inside)
{
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    bool found = false;

    while (processes != NULL && !found && (entry = readdir(processes)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0]))
            found = is_intruder(atoi(entry->d_name), guest, inside);
    }
    if (processes != NULL)
        closedir(processes);
    return found;
}

static int check_processes(const struct mover_guest *guest, struct err *err)
{
    if (find_intruder(guest, namespace_of(guest->pid, "pid")))
        return err_set(err, -EBUSY,
                       "a command that was put into guest %s runs (guest exec): it could not move; "
                       "wait for it or end it",
                       guest->name);
    return 0;
}

static int check_network(const struct mover_guest *guest, struct err *err)
{
    struct stat status;

    if (stat(guest->netns, &status) < 0 || status.st_ino != namespace_of(guest->pid, "net"))
        return err_set(err, -ENOTSUP, "guest %s does not run in its network namespace %s",
                       guest->name, guest->netns);
    return 0;
}

int mover_check(const struct mover_guest *guest, struct err *err)
{
    int r;

    if (access("/usr/sbin/criu", X_OK) < 0)
        return err_set(err, -ENOENT, "there is no /usr/sbin/criu: install the package criu");
    if (access("/dev/pts/ptmx", F_OK) < 0)
        return err_set(err, -ENOTSUP, "criu needs a devpts at /dev/pts of this node");
    if (namespace_of(guest->pid, "pid") == 0)
        return err_set(err, -ESRCH, "guest %s does not run", guest->name);
    r = check_network(guest, err);
    return r < 0 ? r : check_processes(guest, err);
}
