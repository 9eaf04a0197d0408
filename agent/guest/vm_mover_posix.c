/* vm_mover: moves a virtual machine (migrate/mover.h): what the guard's executor asks of the
 * guest's skein-vm on either side (shell). vm_move_libvirt.c and vm_incoming_posix.c do the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "agent/guest/keeper_posix.h"
#include "agent/guest/vm.h"
#include "agent/guest/vm_control_posix.h"
#include "agent/guest/vm_driver_posix.h"
#include "base/clean.h"
#include "base/log.h"
#include "base/tree_posix.h"
#include "migrate/freezer_cgroup.h"
#include "migrate/mover.h"
#include "migrate/progress_posix.h"

enum {
    ANSWER_LIMIT_S = 30, /* of what takes moments; a guest may be frozen with its node's lease */
};

static void find_paths(const struct mover_guest *guest, struct vm_paths *ret)
{
    struct guest_paths paths;

    guest_paths_init(&paths, guest->name, guest->run->digest);
    vm_paths_init(ret, &paths);
}

/* A request of what takes moments, whose reply is waited for at ret_fd. */
static int request_of(const struct mover_guest *guest, enum vm_order what, int *ret_fd,
                      pid_t *ret_pid, struct err *err)
{
    const struct vm_request request = {.order = what};
    const struct timeval limit = {.tv_sec = ANSWER_LIMIT_S};
    struct vm_paths vm;
    int rc;

    find_paths(guest, &vm);
    rc = vm_control_ask(&vm, &request, VM_NONE_PASSED, ret_fd, ret_pid, err);
    if (rc == 0)
        setsockopt(*ret_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return rc;
}

static int ask(const struct mover_guest *guest, enum vm_order what, struct vm_reply *ret,
               pid_t *ret_pid, struct err *err)
{
    cleanup_close int fd = -1;
    int rc = request_of(guest, what, &fd, ret_pid, err);

    return rc < 0 ? rc : vm_control_await(fd, ret, err);
}

static int order(const struct mover_guest *guest, enum vm_order what, pid_t *ret_pid,
                 struct err *err)
{
    struct vm_reply reply;

    return ask(guest, what, &reply, ret_pid, err);
}

static int check(const struct mover_guest *guest, struct err *err)
{
    (void)guest;
    (void)err;
    return 0; /* what it is made of is ours */
}

static int look(const struct mover_guest *guest, struct look *ret, struct err *err)
{
    bool moves = !vm_driver_is_xen(); /* why not, the node's driver says (consensus/vm_driver.h) */
    struct vm_reply reply;
    pid_t pid;
    int rc = ask(guest, VM_ORDER_LOOK, &reply, &pid, err);

    if (rc < 0)
        return rc;
    *ret = (struct look){.memory_bytes = reply.memory_bytes,
                         .files_bytes = reply.disk_bytes,
                         .n_processes = 1,
                         .can_track_dirty = moves,
                         .can_pre = moves,
                         .can_lazy = moves}; /* the target has to be able to */
    return 0;
}

/* Its memory comes to lie where it stays, and is counted when it is placed. */
static void measure(const struct mover_guest *guest, struct look *ret)
{
    enum { BLOCK = 512 }; /* of st_blocks */
    struct stat overlay;
    struct vm_paths vm;

    *ret = (struct look){0};
    find_paths(guest, &vm);
    if (stat(vm.overlay, &overlay) == 0)
        ret->files_bytes = (uint64_t)overlay.st_blocks * BLOCK;
}

static int resume(const struct mover_guest *guest, struct err *err)
{
    pid_t pid;
    int rc = freezer_thaw(guest->freezer, err);

    (void)tree_remove(guest->checkpoint, NULL);
    return rc < 0 ? rc : order(guest, VM_ORDER_RESUME, &pid, err);
}

/* Waits until it stands still. How far it is goes into a file of this side's, which its skein-vm,
 * whose namespace does not have it, goes on writing as long as there is something to say. */
static int await_moved(const struct mover_guest *guest, const struct vm_request *request, int fd,
                       int *ret_control, struct vm_reply *ret, struct err *err)
{
    struct progress progress = {.fd = -1};
    struct vm_paths vm;
    char path[256];
    pid_t pid;
    int rc;

    find_paths(guest, &vm);
    snprintf(path, sizeof(path), "%s" MOVER_PROGRESS, guest->checkpoint);
    if (tree_make(guest->checkpoint, 0700, NULL) == 0)
        progress_begin(&progress, path, 0);
    rc = vm_control_ask(&vm, request, (struct vm_passed){fd, progress.fd}, ret_control, &pid, err);
    progress_end(&progress);
    return rc < 0 ? rc : vm_control_await(*ret_control, ret, err);
}

/* skein-vm says that the guest stands still while its own connection to libvirt is still open: it
 * must not close before all of it is frozen, for libvirt would take the move back. */
static int capture(const struct mover_guest *guest, int fd, const struct mover_order *move,
                   struct mover_report *ret, struct err *err)
{
    const struct vm_request request = {.order = VM_ORDER_MOVE,
                                       .is_paused = move->mode == MOVE_STOP,
                                       .post_after = move->post_after,
                                       .last_round_ms = move->last_round_ms,
                                       .rate_kbps = move->rate_kbps,
                                       .connections = move->connections};
    cleanup_close int control = -1;
    struct vm_reply reply;
    bool is_halted;
    pid_t pid;
    int rc = await_moved(guest, &request, fd, &control, &reply, err);

    if (rc < 0) {
        (void)tree_remove(guest->checkpoint, NULL);
        return rc;
    }
    is_halted = reply.answer == VM_ANSWER_HALTED;
    rc = is_halted ? 0 : freezer_freeze(guest->freezer, err);
    close(steal_fd(&control));
    if (rc < 0) {
        (void)order(guest, VM_ORDER_RESUME, &pid, NULL);
        return rc;
    }
    *ret = (struct mover_report){.bytes = reply.bytes,
                                 .frozen_us = reply.frozen_us,
                                 .handed_over_us = reply.handed_over_us,
                                 .mode = is_halted                 ? MOVE_POST
                                         : move->mode == MOVE_STOP ? MOVE_STOP
                                                                   : MOVE_PRE};
    return 0;
}

/* The child of expect(): whoever connects finds it, from before it is a skein-vm. */
static int become_receiver(const struct mover_guest *guest, const struct mover_join *join,
                           int parent, struct err *err)
{
    struct vm_paths vm;
    int listener;

    find_paths(guest, &vm);
    setsid();
    listener = vm_control_listen(&vm, err);
    if (listener < 0 || write(parent, "", 1) != 1)
        return listener < 0 ? listener : err_set(err, -EPIPE, "nobody expects it any more");
    close(parent);
    return join->call(join->context, err) < 0
               ? err->code
               : keeper_become(VM_PROGRAM, "receive", guest->run, listener, err);
}

static int expect(const struct mover_guest *guest, const struct mover_join *join, struct err *err)
{
    cleanup_close int read_end = -1, write_end = -1;
    int ends[2], rc = tree_make(guest->upper, 0700, err);
    char byte;
    pid_t pid;

    if (rc == 0)
        rc = tree_make(guest->merged, 0700, err);
    if (rc < 0)
        return rc;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    read_end = ends[0];
    write_end = ends[1];
    pid = fork();
    if (pid < 0)
        return err_set(err, -errno, "cannot fork: %s", strerror(errno));
    if (pid == 0) {
        become_receiver(guest, join, write_end, err);
        log_error("guest %s: nobody is there to receive it: %s", guest->name, err->text);
        _exit(EXIT_FAILURE);
    }
    close(steal_fd(&write_end));
    if (read(read_end, &byte, 1) != 1)
        return err_set(err, -ECHILD, "nobody is there to receive it");
    return 0;
}

static int receive(const struct mover_guest *guest, int fd, struct mover_report *ret,
                   struct err *err)
{
    const struct vm_request request = {.order = VM_ORDER_RECEIVE};
    cleanup_close int control = -1;
    struct vm_reply reply;
    struct vm_paths vm;
    struct timespec now;
    pid_t pid;
    int rc;

    find_paths(guest, &vm);
    rc = vm_control_ask(&vm, &request, (struct vm_passed){fd, -1}, &control, &pid, err);
    if (rc == 0)
        rc = vm_control_await(control, &reply, err);
    if (rc < 0)
        return rc;
    clock_gettime(CLOCK_BOOTTIME, &now);
    *ret = (struct mover_report){.pid = pid,
                                 .handed_over_us =
                                     (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000,
                                 .mode = MOVE_PRE};
    return 0;
}

static int activate(const struct mover_guest *guest, pid_t *ret_pid, struct err *err)
{
    cleanup_close int fd = -1;
    struct vm_reply reply;
    int rc = request_of(guest, VM_ORDER_ACTIVATE, &fd, ret_pid, err);

    if (rc < 0)
        return err_set(err, -EOWNERDEAD, "it ended before it ran: nobody has it");
    rc = vm_control_await(fd, &reply, err);
    return rc < 0 ? rc : reply.answer == VM_ANSWER_FOLLOWS;
}

/* A skein-vm that has no hope of it any more kills the guest and ends. */
static int await(const struct mover_guest *guest, struct err *err)
{
    const struct vm_request request = {.order = VM_ORDER_AWAIT};
    cleanup_close int control = -1;
    struct vm_reply reply;
    struct vm_paths vm;
    pid_t pid;
    int rc;

    find_paths(guest, &vm);
    rc = vm_control_ask(&vm, &request, VM_NONE_PASSED, &control, &pid, err);
    if (rc == 0 && vm_control_await(control, &reply, err) < 0)
        rc = err_set(err, -EREMOTEIO, "its memory did not follow");
    return rc;
}

/* What else there is lies in the guest's own directories, which its kind cleans up. */
static int discard(const struct mover_guest *guest, struct err *err)
{
    return tree_remove(guest->checkpoint, err);
}

const struct mover_ops mover_vm_ops = {
    .name = "libvirt",
    .is_live = true,
    .check = check,
    .look = look,
    .measure = measure,
    .capture = capture,
    .expect = expect,
    .receive = receive,
    .activate = activate,
    .await = await,
    .resume = resume,
    .discard = discard,
};
