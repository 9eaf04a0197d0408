/* steps_volumes: removes the volumes of guests that are no longer this node's; see work_posix.h.
 *
 * They are set aside within one step of the work thread, so that no start or receive comes between
 * the look and the deed; what is aside nobody finds any more, and a job removes it, with what an
 * earlier boot left of guests' files. `skeind` asks for it after each start of the guard.
 */
#include <errno.h>

#include "agent/guard/volumes_posix.h"
#include "agent/guard/work_posix.h"

/* Also of one who only dies here, or is being received. */
static enum step keep_check(struct work *work, struct operation *op)
{
    struct err err;

    if (roster_may_start(work->config.roster, op->request.index, &err) < 0)
        return operation_fail(op, err.code, "%s", err.text);
    for (const struct local_guest *g = work->guests.first; g != NULL; g = g->next) {
        char name[VOLUMES_NAME_SIZE];

        if (g->record.state == 0 || g->record.run.spec.n_volumes == 0)
            continue;
        guest_volumes_name(name, g->name, g->record.run.created);
        if (!volumes_are_kept(&op->request, name))
            return operation_fail(op, -EBUSY, "guest '%s' is still here", g->name);
    }
    return STEP_NEXT;
}

static enum step keep_set_aside(struct work *work, struct operation *op)
{
    struct err err;

    (void)work;
    if (volumes_set_aside(&op->request, &err) < 0)
        return operation_fail(op, err.code, "%s", err.text);
    return STEP_NEXT;
}

static enum step keep_remove(struct work *work, struct operation *op)
{
    return operation_plain_job(work, op, &work->config.cells, JOB_DROP_ASIDE);
}

const step_fn steps_keep_volumes[] = {keep_check, keep_set_aside, keep_remove, NULL};
