/* executor: a process that does the guard's slow work (shell: fork, waitpid).
 *
 * Forked before the guard has its system call filter, its locked memory and its real-time thread,
 * so that a guest inherits none of them. The cell executor runs every job in a process of its own
 * and is the reaper of the guests that it started; the fabric executor runs one job after the other
 * in itself. It ends, with its jobs, when the guard does; guests go on.
 */
#ifndef SKEIN_AGENT_GUARD_EXECUTOR_POSIX_H
#define SKEIN_AGENT_GUARD_EXECUTOR_POSIX_H

#include "agent/guard/job.h"

enum { EXECUTOR_MAX_JOBS = 16 };

struct executor {
    int fd;             /* to and from it; non-blocking */
    uint32_t n_running; /* without the watch */
    uint32_t watch;     /* id of the JOB_WATCH */
    uint32_t max_running;
};

struct executor_config {
    const char *name; /* for the log */
    bool forks;       /* a process a job; else only for JOB_WATCH */
    /* Does the job, in the executor's process or its child. `ret` is zeroed and bears the id. */
    void (*run)(const void *context, struct job *job, struct job_result *ret);
    const void *context; /* as it is at the fork */
};

int executor_start(const struct executor_config *config, struct executor *ret, struct err *err);
/* -EAGAIN: as many jobs run as may; ask again after the next result. The job stays the caller's. */
int executor_submit(struct executor *e, const struct job *job);
/* 0, -EAGAIN, or -EPIPE: the executor is dead. A job that is killed after its answer is told twice:
 * only the first is a result. */
int executor_take(struct executor *e, struct job_result *ret);
/* The job has ended: another may run. */
void executor_job_ended(struct executor *e, uint32_t id);
/* Of waitpid's status: exit code, or 128 + signal. */
int32_t executor_status_of_wait(int wait_status);

#endif
