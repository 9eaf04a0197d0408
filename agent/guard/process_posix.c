#include "agent/guard/process_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/clean.h"

enum { FIELD_START_TIME = 22, FIELD_AFTER_NAME = 3 }; /* proc_pid_stat(5) */

uint64_t process_start_time(pid_t pid)
{
    char path[32], text[1024];
    cleanup_close int fd = -1;
    unsigned long long start = 0;
    const char *p;
    ssize_t size;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    size = read(fd, text, sizeof(text) - 1);
    text[size > 0 ? size : 0] = '\0';
    p = strrchr(text, ')'); /* the name may hold anything */
    for (int field = FIELD_AFTER_NAME; p != NULL && field <= FIELD_START_TIME; field++)
        p = strchr(p + 1, ' ');
    if (p == NULL || sscanf(p, " %llu", &start) != 1)
        return 0;
    return start;
}

int process_open(pid_t pid)
{
    int fd = pidfd_open(pid, 0);

    return fd < 0 ? -errno : fd;
}
