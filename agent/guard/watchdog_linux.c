#include "agent/guard/watchdog_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int watchdog_open(const char *path, int *ret_fd, struct err *err)
{
    int timeout = WATCHDOG_TIMEOUT_S;
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return err_set(err, -errno, "cannot open the watchdog %s: %s", path, strerror(errno));
    ioctl(fd, WDIOC_SETTIMEOUT, &timeout); /* one that cannot be set keeps its own */
    *ret_fd = fd;
    return 0;
}

void watchdog_feed(int fd)
{
    if (write(fd, "", 1) < 0)
        return; /* nothing else to do: the board will be reset */
}

void watchdog_close(int fd)
{
    if (fd < 0)
        return;
    if (write(fd, "V", 1) < 0)
        return;
    close(fd);
}
