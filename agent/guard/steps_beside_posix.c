/* steps_beside: what several may do at once, beside whatever else is done with a guest: commands in
 * it, looks at it, its log, and images that no guest uses yet; see work_posix.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "agent/guard/work_posix.h"
#include "netfabric/netns_linux.h"

/* ---- with a guest that runs */

static const struct local_guest *running(struct work *work, struct operation *op)
{
    const struct local_guest *guest = guests_find(&work->guests, op->request.copy.guest);

    if (guest != NULL && guest->record.state == GUEST_RUNNING &&
        guest->record.run.epoch == op->request.copy.epoch)
        return guest;
    operation_fail(op, -ENOENT, "guest '%s' does not run on this node", op->request.copy.guest);
    return NULL;
}

enum step job_beside(struct work *work, struct operation *op, enum job_kind kind)
{
    const struct local_guest *guest = running(work, op);
    struct job job;

    if (guest == NULL)
        return STEP_FAIL;
    job_init(&job);
    job.kind = kind;
    job.has_run = true;
    job.run = guest->record.run;
    job.pid = guest->record.pid;
    job.start_time = guest->record.start_time;
    memcpy(job.digest, op->request.digest, DIGEST_SIZE);
    job.timeout_ms = op->request.timeout_ms;
    job.port = op->request.port;
    job.n_argv = op->request.n_argv;
    job.argv = op->request.argv;
    memcpy(job.fds, op->request.fds, sizeof(job.fds));
    return operation_job(work, op, &work->config.cells, &job);
}

static enum step exec_job(struct work *work, struct operation *op)
{
    return job_beside(work, op, JOB_EXEC);
}

static enum step exec_done(struct work *work, struct operation *op)
{
    (void)work;
    op->reply.status = op->result.status;
    return STEP_NEXT;
}

const step_fn steps_exec[] = {exec_job, exec_done, NULL};

static enum step console_job(struct work *work, struct operation *op)
{
    return job_beside(work, op, JOB_CONSOLE);
}

const step_fn steps_console[] = {console_job, NULL};

static enum step look_job(struct work *work, struct operation *op)
{
    return job_beside(work, op, JOB_LOOK);
}

const step_fn steps_look[] = {look_job, NULL};

static enum step send_job(struct work *work, struct operation *op)
{
    return job_beside(work, op, JOB_SEND);
}

static enum step send_done(struct work *work, struct operation *op)
{
    (void)work;
    op->reply.bytes = op->result.bytes;
    return STEP_NEXT;
}

const step_fn steps_send[] = {send_job, send_done, NULL};

/* A guest that stands frozen cannot be blamed for saying nothing. */
static enum step check_job(struct work *work, struct operation *op)
{
    struct local_guest *guest = guests_find(&work->guests, op->request.copy.guest);

    if (guest != NULL && (guest->record.frozen_by != 0 || (roster_is_lapsed(work->config.roster) &&
                                                           !guest_record_stays(&guest->record))))
        return operation_fail(op, -EAGAIN, "guest '%s' is frozen", op->request.copy.guest);
    return job_beside(work, op, JOB_CHECK);
}

const step_fn steps_check[] = {check_job, NULL};

/* To what its cgroups count, which is what serves it, comes what the hypervisor gives it. */
static void add_domain(struct work *work, const struct local_guest *guest,
                       struct guard_stats *stats)
{
    struct domain_name name = guest_domain(&guest->record);
    struct domain_use use;

    if (domain_use(work->config.domains, &name, &use) < 0)
        stats->cpu_us = stats->memory_bytes = GUARD_UNKNOWN;
    if (stats->cpu_us != GUARD_UNKNOWN)
        stats->cpu_us += use.cpu_us;
    if (stats->memory_bytes != GUARD_UNKNOWN)
        stats->memory_bytes += use.memory_bytes;
}

/* What a port takes in is what its guest sends. */
static enum step read_stats(struct work *work, struct operation *op)
{
    const struct local_guest *guest = running(work, op);
    struct guard_stats *stats = &op->reply.stats;
    struct cgroup_counts counts;
    char port[PORT_NAME_SIZE];

    if (guest == NULL)
        return STEP_FAIL;
    cgroup_count(work->config.cgroups, guest->name, guest_record_stays(&guest->record), &counts);
    *stats = (struct guard_stats){counts.cpu_us, counts.memory_bytes, counts.n_tasks, GUARD_UNKNOWN,
                                  GUARD_UNKNOWN};
    if (guest->record.run.spec.kind == KIND_VM && work->config.domains != NULL)
        add_domain(work, guest, stats);
    port_name(guest->record.run.port, port);
    if (guest->record.run.port != 0)
        interface_count(port, &stats->sent_bytes, &stats->received_bytes);
    return STEP_NEXT;
}

const step_fn steps_stats[] = {read_stats, NULL};

static enum step open_log(struct work *work, struct operation *op)
{
    static const uint8_t any[DIGEST_SIZE];
    struct guest_paths paths;

    (void)work;
    guest_paths_init(&paths, op->request.copy.guest, any);
    op->reply.fd = open(paths.log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (op->reply.fd < 0)
        return operation_fail(op, -errno, "no log of guest '%s' on this node: %s",
                              op->request.copy.guest, strerror(errno));
    return STEP_NEXT;
}

const step_fn steps_logs[] = {open_log, NULL};

/* ---- with images */

static enum step image_job(struct work *work, struct operation *op)
{
    struct job job;

    job_init(&job);
    job.kind = op->request.op == GUARD_UNPACK ? JOB_UNPACK : JOB_DROP_IMAGE;
    memcpy(job.digest, op->request.digest, DIGEST_SIZE);
    job.fds[0] = op->request.fds[0];
    return operation_job(work, op, &work->config.cells, &job);
}

static enum step drop_check(struct work *work, struct operation *op)
{
    for (const struct local_guest *g = work->guests.first; g != NULL; g = g->next) {
        if (g->record.state != 0 &&
            memcmp(g->record.run.digest, op->request.digest, DIGEST_SIZE) == 0)
            return operation_fail(op, -EBUSY, "guest '%s' uses this image", g->name);
    }
    return STEP_NEXT;
}

const step_fn steps_unpack[] = {image_job, NULL};
const step_fn steps_drop_image[] = {drop_check, image_job, NULL};
