/* keeper: the first process of a guest that a program of its own keeps, which lies beside
 * skein-guard (skein-vm, skein-lxc), so that no other program is linked with what that needs
 * (shell).
 *
 *     PROGRAM WHAT SHARED_CPUS GUEST_CPUS    with the encoded guest_run at KEEPER_RUN; KEEPER_READY
 *                                            goes to KEEPER_STATUS, or words of failure
 */
#ifndef SKEIN_AGENT_GUEST_KEEPER_POSIX_H
#define SKEIN_AGENT_GUEST_KEEPER_POSIX_H

#include "agent/guest/guest.h"

enum {
    KEEPER_RUN = 3, /* descriptors of the program */
    KEEPER_STATUS = 4,
    KEEPER_STREAM = 5, /* what a guest comes through that moves here, or who asks for it */
    KEEPER_READY = '+',
    KEEPER_RUN_MAX = 192 * 1024,
    KEEPER_PATH_SIZE = 4096,
};

/* The program beside this one. -ENOTSUP when it is not there. */
int keeper_find(const char *program, char ret[KEEPER_PATH_SIZE], struct err *err);
/* `what`: "start", or "receive" with the stream (borrowed; else -1). Returns when the program says
 * READY: ret_pid is a child of the caller's. */
int keeper_start(const char *program, const char *what, const struct guest_run *run, int stream,
                 pid_t *ret_pid, struct err *err);
/* Makes the calling process the program, without anybody who waits for READY; `third` (borrowed)
 * becomes KEEPER_STREAM. Returns when that failed. */
int keeper_become(const char *program, const char *what, const struct guest_run *run, int third,
                  struct err *err);
/* Asks it, by SIGTERM, to have the guest end. */
int keeper_terminate(pid_t pid, struct err *err);
/* In the program: what it is to run. */
int keeper_read_run(int argc, char *argv[], struct guest_run *ret, struct err *err);
/* In the program: a signalfd (the caller's) of what it waits for, SIGTERM and SIGCHLD. */
int keeper_watch_signals(int *ret_fd, struct err *err);

#endif
