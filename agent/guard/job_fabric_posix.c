/* job_fabric: the jobs of the fabric executor; see job_run_posix.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent/guard/job_run_posix.h"
#include "base/log.h"

/* A node goes on without the filter of the deadline: it is said, and that is all. A guest that
 * stays when the lease is over has none. */
static void set_deadline(const struct deadline *d, const struct guest_run *run, bool is_plugged)
{
    bool stays = is_plugged && run->spec.failover == FAILOVER_STAY;
    uint8_t mac[MAC_SIZE];
    struct err err = {0};
    char name[PORT_NAME_SIZE];
    int rc;

    mac_of_guest(run->ip, mac);
    port_name(run->port, name);
    rc = deadline_exempt(d, run->vni, mac, stays, &err);
    if (rc == 0)
        rc = is_plugged && !stays ? deadline_attach_port(d, name, &err)
                                  : deadline_detach_port(d, name, &err);
    if (rc < 0)
        log_warn("guest %s: no deadline filter: %s", run->spec.name, err.text);
}

static int plug(const struct job_context *c, const struct guest_run *run, struct err *err)
{
    struct wiring_port port = {.port = run->port,
                               .ip = run->ip,
                               .prefix = run->prefix,
                               .is_tap = run->spec.kind == KIND_VM};
    int rc;

    memcpy(port.guest, run->spec.name, sizeof(port.guest));
    mac_of_guest(run->ip, port.mac);
    rc = wiring_plug(c->wiring, &port, err); /* down; the guard raises it when the guest lives */
    if (rc == 0)
        set_deadline(&c->deadline, run, true);
    return rc;
}

static int unplug(const struct job_context *c, const struct guest_run *run, struct err *err)
{
    int rc = wiring_unplug(c->wiring, run->spec.name, run->port, err);

    if (rc == 0)
        set_deadline(&c->deadline, run, false);
    return rc;
}

static int setup(const struct job_context *c, struct err *err)
{
    const char *uplink = c->wiring_config.uplink;
    int rc = wiring_setup(c->wiring, err);
    struct err why = {0};

    if (rc == 0 && uplink[0] != '\0' && deadline_attach_uplink(&c->deadline, uplink, &why) < 0)
        log_warn("uplink %s: no deadline filter: %s", uplink, why.text);
    return rc;
}

/* Ends by the switch's death; or with the executor, whose end of the pipe closes. */
static int watch(struct err *err)
{
    int stop[2];

    if (pipe2(stop, O_CLOEXEC) < 0)
        return err_set(err, -errno, "no pipe: %s", strerror(errno));
    return wiring_wait_for_death(stop[0], err);
}

void job_run_fabric(const void *context, struct job *job, struct job_result *ret)
{
    const struct job_context *c = context;
    struct err err = {0};
    int rc;

    switch (job->kind) {
    case JOB_SETUP:
        rc = setup(c, &err);
        break;
    case JOB_APPLY:
        rc = wiring_apply(c->wiring, &job->view, &err);
        break;
    case JOB_PLUG:
        rc = plug(c, &job->run, &err);
        break;
    case JOB_UNPLUG:
        rc = unplug(c, &job->run, &err);
        break;
    case JOB_PROBE:
        rc = wiring_probe(c->wiring, &err);
        break;
    case JOB_WATCH:
        rc = watch(&err);
        break;
    default:
        rc = err_set(&err, -EINVAL, "no job of the fabric executor");
        break;
    }
    job_result_end(ret, rc, &err);
}
