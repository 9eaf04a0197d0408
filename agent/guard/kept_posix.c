#include "agent/guard/kept_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guest/guest.h"
#include "base/clean.h"

enum { MARK_SIZE = 160 };

static void find_mark(const char *guest, char ret[MARK_SIZE])
{
    snprintf(ret, MARK_SIZE, GUEST_FILES "/%s/" GUEST_KEPT, guest);
}

int kept_note(const char *guest, uint64_t created, struct err *err)
{
    cleanup_close int fd = -1;
    char mark[MARK_SIZE], *slash;

    find_mark(guest, mark);
    slash = strrchr(mark, '/');
    *slash = '\0';
    mkdir(mark, 0711);
    *slash = '/';
    fd = open(mark, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, -errno, "cannot make %s: %s", mark, strerror(errno));
    if (dprintf(fd, "%llu", (unsigned long long)created) < 0)
        return err_set(err, -errno, "cannot write %s: %s", mark, strerror(errno));
    return 0;
}

bool kept_is_of(const char *guest, uint64_t created)
{
    char mark[MARK_SIZE], wanted[24], text[24] = "";
    cleanup_close int fd = -1;

    find_mark(guest, mark);
    fd = open(mark, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
        return false;
    snprintf(wanted, sizeof(wanted), "%llu", (unsigned long long)created);
    return strcmp(text, wanted) == 0;
}

void kept_forget(const char *guest)
{
    char mark[MARK_SIZE];

    find_mark(guest, mark);
    unlink(mark);
}
