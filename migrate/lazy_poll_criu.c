/* lazy_poll_criu: part of the library that is preloaded into criu (with sockopt_criu.c).
 *
 * Once its guest runs, `criu lazy-pages` asks for events without ever waiting for one
 * (handle_requests in its criu/uffd.c, up to 4.2): it took 84 % of a core of the node that the
 * guest has just come to. After an event it does one thing for each process between two such
 * questions, so when many in a row found nothing, nothing is left to be done but what an event
 * brings. That is waited for here, for a moment.
 *
 * And it gets its events one by one. Pages that come for a process that has ended meanwhile make it
 * close that one's userfaultfd, whose own event may be the next of those that it was told of
 * together: it would read from what it has closed, and fail with all of the guest ("Can't read
 * uffd message: Bad file descriptor"). An event of what is closed is not told of.
 */
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EMPTY_IN_A_ROW = 64, REST_MS = 1, SIGNAL_SET_SIZE = 8 };

static unsigned n_empty; /* the process has one thread that asks */

__attribute__((visibility("default"))) int epoll_wait(int fd, struct epoll_event *events, int max,
                                                      int timeout_ms)
{
    int n;

    if (max > 1)
        max = 1;
    if (timeout_ms == 0 && n_empty >= EMPTY_IN_A_ROW)
        timeout_ms = REST_MS;
    n = (int)syscall(SYS_epoll_pwait, fd, events, max, timeout_ms, NULL, SIGNAL_SET_SIZE);
    n_empty = n == 0 ? n_empty + (n_empty < EMPTY_IN_A_ROW) : 0;
    return n;
}
