/* console: a guest's terminal: into its log, and to whoever is attached (shell). The guest's first
 * process keeps it (skein-vm, skein-lxc); the guard joins people to it.
 */
#ifndef SKEIN_AGENT_GUEST_CONSOLE_POSIX_H
#define SKEIN_AGENT_GUEST_CONSOLE_POSIX_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    CONSOLE_LOG_MAX = 1024 * 1024, /* bytes; past that its older half is cut */
    CONSOLE_MAX_CLIENTS = 4,
    CONSOLE_FDS = 3 + CONSOLE_MAX_CLIENTS,
};

struct console {
    const char *log_path; /* borrowed */
    int log;              /* -1: to be opened for what is said next */
    size_t log_size;
    int guest;          /* the guest's terminal; -1 = not yet, or gone */
    int guest_listener; /* where that comes from (console_listen); -1 = it is there already */
    int listener;       /* for those who attach */
    int clients[CONSOLE_MAX_CLIENTS];
};

/* With the log (its path is kept), and a socket at `path` for those who attach; both stand
 * afterwards. */
int console_open(struct console *c, const char *log, const char *path, struct err *err);
/* Another file takes the log's place before the guest says anything: that one is written to. */
void console_leave_log(struct console *c);
/* The guest's terminal will connect to a socket at `path`, as the user `uid`. */
int console_listen(struct console *c, const char *path, uint32_t uid, struct err *err);

/* What to wait for, and what to do then. */
void console_poll(const struct console *c, struct pollfd ret[CONSOLE_FDS]);
void console_serve(struct console *c, const struct pollfd fds[CONSOLE_FDS]);
/* Reads what a guest that has ended said last; never blocks. */
void console_drain(struct console *c);

/* In the guard: joins the two descriptors (in, out) to the console whose socket is at `path`, until
 * either ends. */
int console_join(const char *path, const int stdio[2], struct err *err);

#endif
