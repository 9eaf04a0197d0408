/* start_status: see the header. */
#include "agent/guest/start_status_posix.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

int start_status_await(int fd, char ready, const char *guest, struct err *err)
{
    char text[ERR_TEXT_SIZE];
    size_t size = 0;
    ssize_t n;

    while (size < sizeof(text) - 1 && (n = read(fd, text + size, sizeof(text) - 1 - size)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        size += (size_t)n;
    }
    text[size] = '\0';
    if (size == 1 && text[0] == ready)
        return 0;
    if (size == 0)
        return err_set(err, -ECHILD, "guest %s died while it was started", guest);
    return err_set(err, -ENOEXEC, "guest %s: %s", guest, text[0] == ready ? text + 1 : text);
}
