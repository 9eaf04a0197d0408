/* vm_look: what libvirt tells of a guest that is to move, and of one that comes in; see
 * vm_move_libvirt.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent/guest/vm_call_libvirt.h"
#include "agent/guest/vm_move_libvirt.h"

/* ---- beforehand */

int vm_move_look(const char *guest, int control)
{
    struct vm_reply reply = {.answer = VM_ANSWER_LOOKED};
    virDomainBlockInfo disk;
    struct vm_call call;
    virDomainInfo info;
    struct err err = {0};
    int rc = vm_call_begin(&call, guest, &err);

    if (rc == 0 && virDomainGetInfo(call.domain, &info) < 0)
        rc = vm_call_failed(&err, "say how it is");
    if (rc == 0) {
        reply.memory_bytes = (uint64_t)info.memory * 1024;
        reply.disk_bytes =
            virDomainGetBlockInfo(call.domain, "vda", &disk, 0) == 0 ? disk.allocation : 0;
    }
    vm_call_end(&call);
    if (rc < 0) {
        reply.answer = VM_ANSWER_FAILED;
        memcpy(reply.text, err.text, sizeof(reply.text));
    }
    return vm_control_answer(control, &reply) < 0 || rc < 0;
}

/* ---- target */

struct watch {
    const char *guest;
    int fd;
};

/* 0: nothing that matters to a move. */
static char word_of(int event, int detail)
{
    if (event == VIR_DOMAIN_EVENT_RESUMED)
        return detail == VIR_DOMAIN_EVENT_RESUMED_POSTCOPY          ? VM_FOLLOWS
               : detail == VIR_DOMAIN_EVENT_RESUMED_POSTCOPY_FAILED ? VM_STOPPED
                                                                    : VM_RESUMED;
    if (event == VIR_DOMAIN_EVENT_SUSPENDED && detail == VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED)
        return VM_STOPPED;
    return event == VIR_DOMAIN_EVENT_STOPPED ? VM_STOPPED : 0;
}

static int on_watched(virConnectPtr connection, virDomainPtr domain, int event, int detail,
                      void *opaque)
{
    const struct watch *watch = opaque;
    char word = word_of(event, detail);

    (void)connection;
    if (word != 0 && strcmp(virDomainGetName(domain), watch->guest) == 0)
        (void)!write(watch->fd, &word, 1);
    return 0;
}

/* libvirtd has died: what it was to do for the guest is not done any more. */
static void on_closed(virConnectPtr connection, int reason, void *opaque)
{
    const struct watch *watch = opaque;
    const char word = VM_STOPPED;

    (void)connection, (void)reason;
    (void)!write(watch->fd, &word, 1);
}

/* libvirtd reads what QEMU can do, and what it knows of processors, when it is first asked about a
 * machine: now, while the source is on its way to ask. */
static void warm_up(virConnectPtr connection)
{
    free(virConnectGetDomainCapabilities(connection, NULL, NULL, NULL, NULL, 0));
}

static int keep_watch(const char *guest, int fd)
{
    struct watch watch = {guest, fd};
    struct pollfd end = {.fd = fd}; /* POLLERR: nobody reads any more */
    const char ready = VM_WATCHING;
    struct vm_call call;
    struct err err;

    if (vm_call_hear_events(&err) < 0 || vm_call_begin(&call, NULL, &err) < 0 ||
        virConnectDomainEventRegisterAny(call.connection, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                         VIR_DOMAIN_EVENT_CALLBACK(on_watched), &watch, NULL) < 0 ||
        virConnectRegisterCloseCallback(call.connection, on_closed, &watch, NULL) < 0 ||
        write(fd, &ready, 1) != 1)
        return EXIT_FAILURE;
    warm_up(call.connection);
    while (poll(&end, 1, -1) <= 0)
        ;
    return EXIT_SUCCESS;
}

/* Of skein-vm's descriptors it keeps none: the other ends must hear when skein-vm dies. */
int vm_move_watch(const char *guest, int *ret_fd, pid_t *ret_pid, struct err *err)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    pid = vm_call_fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close_range(STDERR_FILENO + 1, (unsigned int)ends[1] - 1, 0);
        close_range((unsigned int)ends[1] + 1, ~0U, 0);
        _exit(keep_watch(guest, ends[1]));
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return err_set(err, -errno, "cannot fork: %s", strerror(errno));
    }
    *ret_fd = ends[0];
    *ret_pid = pid;
    return 0;
}
