/* lazy_poll_criu: part of the library that is preloaded into criu (with sockopt_criu.c).
 *
 * Once its guest runs, `criu lazy-pages` asks for events without ever waiting for one
 * (handle_requests in its criu/uffd.c, up to 4.2): it took 84 % of a core of the node that the
 * guest has just come to. After an event it does one thing for each process between two such
 * questions, so when many in a row found nothing, nothing is left to be done but what an event
 * brings. That is waited for here, for a moment.
 *
 * And it is told of nothing that it has closed: it would read from that, and fail with all of the
 * guest ("Can't read uffd message: Bad file descriptor"). It closes the userfaultfd of a process
 * that has all of its memory, and counts on that to end its events. But there are copies of it
 * for a while (hold_faults in lazy_criu.c), and a process that forks then makes one. Or it closes
 * that of a process that has ended over another's event: so it gets its events one by one.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

enum { EMPTY_IN_A_ROW = 64, REST_MS = 1, SIGNAL_SET_SIZE = 8 };

static unsigned n_empty; /* the process has one thread that asks */
static int asked = -1;   /* where it asks */

EXPORTED int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
    int n;

    asked = fd;
    if (max > 1)
        max = 1;
    if (timeout_ms == 0 && n_empty >= EMPTY_IN_A_ROW)
        timeout_ms = REST_MS;
    n = (int)syscall(SYS_epoll_pwait, fd, events, max, timeout_ms, NULL, SIGNAL_SET_SIZE);
    n_empty = n == 0 ? n_empty + (n_empty < EMPTY_IN_A_ROW) : 0;
    return n;
}

EXPORTED int close(int fd)
{
    int before = errno;

    if (asked >= 0)
        (void)syscall(SYS_epoll_ctl, asked, EPOLL_CTL_DEL, fd, NULL);
    errno = before;
    if (fd == asked)
        asked = -1;
    return (int)syscall(SYS_close, fd);
}
