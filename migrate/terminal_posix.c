#include "migrate/terminal_posix.h"

#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "base/clean.h"

enum { SAID_MAX = 256 * 1024 }; /* more than the kernel holds for a terminal */

static size_t take(int reading, char *ret)
{
    struct pollfd said = {.fd = reading, .events = POLLIN};
    size_t size = 0;
    ssize_t n = 1;

    while (n > 0 && size < SAID_MAX && poll(&said, 1, 0) == 1 && (said.revents & POLLIN) != 0) {
        n = read(reading, ret + size, SAID_MAX - size);
        size += n > 0 ? (size_t)n : 0;
    }
    return size;
}

static void write_all(int fd, const char *data, size_t size)
{
    ssize_t n = 1;

    for (size_t done = 0; n > 0 && done < size; done += (size_t)n)
        n = write(fd, data + done, size - done);
}

/* It goes back as it was read: a line's end has become what it becomes already. */
void terminal_peek(int reading, int saying, int copy)
{
    cleanup_free char *said = malloc(SAID_MAX);
    struct termios own, plain;
    size_t size;

    if (said == NULL || tcgetattr(saying, &own) < 0)
        return;
    plain = own;
    plain.c_oflag &= ~(tcflag_t)OPOST;
    if (tcsetattr(saying, TCSANOW, &plain) < 0)
        return;
    size = take(reading, said);
    write_all(saying, said, size);
    (void)tcsetattr(saying, TCSANOW, &own);
    write_all(copy, said, size);
}
