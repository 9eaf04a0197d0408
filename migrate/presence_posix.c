#include "migrate/presence_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"

int presence_begin(const char *path, struct err *err)
{
    int fd = -1;

    if (mkfifo(path, 0600) == 0)
        fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? err_set(err, -errno, "cannot make %s: %s", path, strerror(errno)) : fd;
}

int presence_wait(const char *path, bool asks, int limit_ms, struct err *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    struct pollfd gone = {.fd = fd};
    int n;

    if (fd < 0) /* ENXIO: nobody reads */
        return 0;
    if (asks)
        (void)!write(fd, "", 1);
    do
        n = poll(&gone, 1, limit_ms);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return err_set(err, -ETIMEDOUT, "the process of %s does not end", path);
    return 1;
}
