#include "agent/guard/filter_seccomp.h"

#include <errno.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "agent/guard/hypercall_xen.h"

static const int allowed[] = {
    /* files: records, cgroups, logs for clients */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(pwrite64),
    SCMP_SYS(pread64),
    SCMP_SYS(writev),
    SCMP_SYS(openat),
    SCMP_SYS(open),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(lseek),
    SCMP_SYS(getdents64),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),
    SCMP_SYS(rmdir),
    SCMP_SYS(fcntl),
    SCMP_SYS(dup),
    SCMP_SYS(access),
    SCMP_SYS(faccessat2),
    /* waiting */
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(futex),
    SCMP_SYS(futex_time64),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    /* the clients and the executors */
    SCMP_SYS(accept4),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    /* guests */
    SCMP_SYS(kill),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_send_signal),
    /* itself */
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(brk),
    SCMP_SYS(madvise),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getuid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(pipe2),
};

static const int forbidden[] = {
    SCMP_SYS(execve),  SCMP_SYS(execveat),          SCMP_SYS(fork),        SCMP_SYS(vfork),
    SCMP_SYS(ptrace),  SCMP_SYS(process_vm_writev), SCMP_SYS(init_module), SCMP_SYS(finit_module),
    SCMP_SYS(bpf),     SCMP_SYS(kexec_load),        SCMP_SYS(mount),       SCMP_SYS(setns),
    SCMP_SYS(unshare),
};

/* Interfaces go up and down through a Unix socket; the network is not this process's affair. */
static int add_conditional(scmp_filter_ctx filter)
{
    const scmp_datum_t hypercall = HYPERCALL_REQUEST;
    int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                              SCMP_A0(SCMP_CMP_EQ, AF_UNIX));

    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                              SCMP_A1(SCMP_CMP_EQ, SIOCGIFFLAGS));
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                              SCMP_A1(SCMP_CMP_EQ, SIOCSIFFLAGS));
    if (rc == 0) /* the domains of Xen, where this is its control domain */
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                              SCMP_A1(SCMP_CMP_EQ, hypercall));
    if (rc == 0) /* no memory that can be run */
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return rc;
}

static int add_rules(scmp_filter_ctx filter)
{
    int rc = add_conditional(filter);

    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && rc == 0; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]) && rc == 0; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, forbidden[i], 0);
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    return rc == 0 ? seccomp_load(filter) : rc;
}

int filter_guard(struct err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc = filter == NULL ? -ENOMEM : add_rules(filter);

    if (filter != NULL)
        seccomp_release(filter);
    return rc < 0 ? err_set(err, rc, "cannot set the system call filter: %s", strerror(-rc)) : 0;
}
