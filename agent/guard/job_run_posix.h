/* job_run: what each job does, in the executors' processes (shell: guest kinds, mover; and in
 * job_fabric_posix.c: wiring). */
#ifndef SKEIN_AGENT_GUARD_JOB_RUN_POSIX_H
#define SKEIN_AGENT_GUARD_JOB_RUN_POSIX_H

#include "agent/guard/cgroup.h"
#include "agent/guard/cpus.h"
#include "agent/guard/deadline_bpf.h"
#include "agent/guard/job.h"
#include "netfabric/wiring.h"

struct job_context {
    struct cgroups *cgroups;
    struct cpus cpus;
    struct wiring_config wiring_config;
    struct wiring *wiring;    /* the fabric executor's */
    struct deadline deadline; /* attached to every port and to the uplink */
};

/* NULL: no guest of that kind runs here. */
const struct guest_kind_ops *job_kind_of_guest(enum guest_kind kind);
/* For executor_config.run; `context` is a struct job_context. */
void job_run_cell(const void *context, struct job *job, struct job_result *ret);
void job_run_fabric(const void *context, struct job *job, struct job_result *ret);

#endif
