#include "agent/guest/console_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/tree_posix.h"

enum { CHUNK = 4096 };

static int listen_at(const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, CONSOLE_MAX_CLIENTS) < 0)
        return err_set(err, -errno, "cannot listen at %s: %s", path, strerror(errno));
    return fd;
}

static int open_log(struct console *c, struct err *err)
{
    struct stat st;
    int rc = tree_make_above(c->log_path, 0750, err);

    if (rc < 0)
        return rc;
    c->log = open(c->log_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (c->log < 0 || fstat(c->log, &st) < 0)
        return err_set(err, -errno, "cannot open %s: %s", c->log_path, strerror(errno));
    c->log_size = (size_t)st.st_size;
    return 0;
}

int console_open(struct console *c, const char *log, const char *path, struct err *err)
{
    int rc;

    c->log_path = log;
    rc = open_log(c, err);
    c->guest = c->guest_listener = -1;
    for (int i = 0; i < CONSOLE_MAX_CLIENTS; i++)
        c->clients[i] = -1;
    if (rc < 0)
        return rc;
    c->listener = listen_at(path, err);
    return c->listener < 0 ? c->listener : 0;
}

void console_leave_log(struct console *c)
{
    close(c->log);
    c->log = -1;
}

int console_listen(struct console *c, const char *path, uint32_t uid, struct err *err)
{
    c->guest_listener = listen_at(path, err);
    if (c->guest_listener < 0)
        return c->guest_listener;
    if (lchown(path, uid, uid) < 0)
        return err_set(err, -errno, "cannot give %s away: %s", path, strerror(errno));
    return 0;
}

/* A negative descriptor is passed over by poll(). */
void console_poll(const struct console *c, struct pollfd ret[CONSOLE_FDS])
{
    ret[0] = (struct pollfd){.fd = c->guest < 0 ? c->guest_listener : -1, .events = POLLIN};
    ret[1] = (struct pollfd){.fd = c->listener, .events = POLLIN};
    ret[2] = (struct pollfd){.fd = c->guest, .events = POLLIN};
    for (int i = 0; i < CONSOLE_MAX_CLIENTS; i++)
        ret[3 + i] = (struct pollfd){.fd = c->clients[i], .events = POLLIN};
}

static void drop(int *fd)
{
    close(*fd);
    *fd = -1;
}

static void add_client(struct console *c)
{
    int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    for (int i = 0; fd >= 0 && i < CONSOLE_MAX_CLIENTS; i++) {
        if (c->clients[i] < 0) {
            c->clients[i] = fd;
            return;
        }
    }
    if (fd >= 0)
        close(fd);
}

/* Past its limit the log loses its older half. */
static void cut_log(struct console *c)
{
    const size_t half = CONSOLE_LOG_MAX / 2;
    cleanup_free char *newer = malloc(half);
    ssize_t n;

    if (newer == NULL)
        return;
    n = pread(c->log, newer, half, (off_t)(c->log_size - half));
    if (n < 0 || ftruncate(c->log, 0) < 0)
        return;
    c->log_size = write(c->log, newer, (size_t)n) == n ? (size_t)n : 0;
}

/* A client that does not keep up misses something; nobody waits for it. */
static void from_guest(struct console *c)
{
    char chunk[CHUNK];
    ssize_t n = read(c->guest, chunk, sizeof(chunk));

    if (n <= 0 && errno != EAGAIN)
        drop(&c->guest);
    if (n <= 0)
        return;
    if (c->log < 0)
        (void)open_log(c, NULL); /* else what it says is for those who are attached */
    if (write(c->log, chunk, (size_t)n) == n)
        c->log_size += (size_t)n;
    if (c->log_size > CONSOLE_LOG_MAX)
        cut_log(c);
    for (int i = 0; i < CONSOLE_MAX_CLIENTS; i++) {
        if (c->clients[i] >= 0 && write(c->clients[i], chunk, (size_t)n) < 0 && errno != EAGAIN)
            drop(&c->clients[i]);
    }
}

static void from_client(struct console *c, int *client)
{
    char chunk[CHUNK];
    ssize_t n = read(*client, chunk, sizeof(chunk));

    if (n == 0 || (n < 0 && errno != EAGAIN))
        drop(client);
    else if (n > 0 && c->guest >= 0 && write(c->guest, chunk, (size_t)n) < 0 && errno != EAGAIN)
        drop(&c->guest);
}

void console_serve(struct console *c, const struct pollfd fds[CONSOLE_FDS])
{
    if (fds[0].revents != 0)
        c->guest = accept4(c->guest_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fds[1].revents != 0)
        add_client(c);
    if (fds[2].revents != 0)
        from_guest(c);
    for (int i = 0; i < CONSOLE_MAX_CLIENTS; i++) {
        if (fds[3 + i].revents != 0 && c->clients[i] >= 0)
            from_client(c, &c->clients[i]);
    }
}

void console_drain(struct console *c)
{
    struct pollfd fd = {.fd = c->guest, .events = POLLIN};

    while (c->guest >= 0 && poll(&fd, 1, 0) > 0)
        from_guest(c);
}

/* ---- on the other side */

/* Passes what is there on. False at the end of `from`, or when `to` takes nothing more. */
static bool pass(int from, int to)
{
    char chunk[CHUNK];
    ssize_t n = read(from, chunk, sizeof(chunk));
    ssize_t done = 0;

    while (n > 0 && done < n) {
        ssize_t written = write(to, chunk + done, (size_t)(n - done));

        if (written <= 0)
            return false;
        done += written;
    }
    return n > 0;
}

static int join(int console, int in, int out)
{
    struct pollfd fds[] = {{.fd = console, .events = POLLIN},
                           {.fd = in, .events = POLLIN},
                           {.fd = out}}; /* POLLERR: nobody listens any more */

    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        if (poll(fds, 3, -1) < 0)
            return -errno;
        if (fds[0].revents != 0 && !pass(console, out))
            return 0;
        if (fds[1].revents != 0 && !pass(in, console))
            fds[1].fd = -1; /* it has said all; what comes back goes on */
        if (fds[2].revents != 0)
            return 0;
    }
}

int console_join(const char *path, const int stdio[2], struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return err_set(err, -errno, "cannot reach its console: %s", strerror(errno));
    return join(fd, stdio[0], stdio[1]);
}
