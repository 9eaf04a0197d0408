/* model_ops_move: what a guard does to a guest at the source and at the target of a migration; see
 * model_ops.h. The stream between the two is in model_move.c. */
#include "tests/sim/model_ops.h"

#include <errno.h>

void ops_prepare(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (copy->state != 0 && copy->state != GUEST_EXITED) {
        ops_refuse(sim, node, guest, -EEXIST, "is on this node already");
        return;
    }
    ops_forget(copy);
    copy->state = GUEST_PREPARED;
    copy->epoch = copy->migration = copy->op->migration;
    copy->stays = copy->op->run.spec.failover == FAILOVER_STAY;
    guard_news(sim, node);
    ops_after(sim, node, guest, sim_between(sim, 10 * MS, 100 * MS));
}

void ops_capture(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (copy->state == 0 || ops_is_target(copy)) {
        ops_refuse(sim, node, guest, -ENOENT, "is not on this node");
    } else if (copy->epoch != copy->op->copy.epoch) {
        ops_refuse(sim, node, guest, -ESTALE, "is here with another epoch");
    } else if (copy->state != GUEST_RUNNING || copy->frozen_by != 0) {
        ops_refuse(sim, node, guest, -EBUSY, "does not run");
    } else if (!copy->stays && node->guard.holder.lapsed) {
        ops_refuse(sim, node, guest, -EKEYEXPIRED, "the lease is out");
    } else {
        copy->state = GUEST_HANDED_OVER;
        copy->frozen_by = FROZEN_BY_MIGRATION;
        copy->migration = copy->op->migration;
        copy->is_unfrozen = true;
        sim_trace(sim, node, "captures g%d of epoch %llu", guest, (unsigned long long)copy->epoch);
        guard_news(sim, node);
        move_begin(sim, node, guest);
    }
}

void ops_receive(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (!ops_is_target(copy) || copy->migration != copy->op->migration)
        ops_refuse(sim, node, guest, -ENOENT, "is not prepared here");
    else if (copy->state != GUEST_PREPARED)
        ops_refuse(sim, node, guest, -EEXIST, "was received already");
    else
        move_begin(sim, node, guest);
}

void ops_activate(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (!ops_is_target(copy) || copy->migration != copy->op->migration) {
        ops_refuse(sim, node, guest, -ENOENT, "is not prepared here");
        return;
    }
    if (copy->state != GUEST_RECEIVED || copy->op->copy.epoch <= copy->op->migration) {
        ops_refuse(sim, node, guest, -EINVAL, "was not received yet");
        return;
    }
    if (!ops_may_start(sim, node, guest))
        return;
    copy->state = GUEST_RESTORING;
    copy->epoch = copy->op->copy.epoch;
    copy->has_copy = true;
    copy->n_starts = 1;
    copy->pid = ++node->guard.pids;
    sim_trace(sim, node, "activates g%d of epoch %llu", guest, (unsigned long long)copy->epoch);
    guard_news(sim, node);
    check_guest(sim, guest);
    ops_after(sim, node, guest, sim_between(sim, 5 * MS, 150 * MS));
}

void ops_back_to_received(struct sim_copy *copy)
{
    copy->state = GUEST_RECEIVED;
    copy->epoch = copy->migration;
    copy->has_copy = copy->is_destroyed = false;
    copy->pid = 0;
}

void ops_activated(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (ops_waits_for_lease(sim, node, guest))
        return;
    if (copy->is_destroyed || ops_fails(sim)) {
        ops_back_to_received(copy);
        ops_refuse(sim, node, guest, -EIO, "it cannot be restored");
        return;
    }
    copy->state = GUEST_RUNNING;
    copy->migration = 0;
    ops_ran(sim, node, guest);
    ops_finish(sim, node, guest, 0, "", NULL);
}

static void thaw(struct sim_copy *copy)
{
    copy->state = GUEST_RUNNING;
    copy->frozen_by = 0;
    copy->migration = 0;
    copy->is_unfrozen = false;
}

void ops_resume(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (copy->state == 0 || ops_is_target(copy)) {
        ops_refuse(sim, node, guest, -ENOENT, "is not on this node");
    } else if (copy->epoch != copy->op->copy.epoch) {
        ops_refuse(sim, node, guest, -ESTALE, "is here with another epoch");
    } else if (copy->state == GUEST_RUNNING) {
        ops_finish(sim, node, guest, 0, "", NULL);
    } else if (copy->state != GUEST_HANDED_OVER || copy->migration != copy->op->migration) {
        ops_refuse(sim, node, guest, -EINVAL, "was not captured by this migration");
    } else {
        sim_trace(sim, node, "resumes g%d", guest);
        thaw(copy);
        check_guest(sim, guest);
        ops_after(sim, node, guest, sim_between(sim, MS, 20 * MS));
    }
}

void ops_discard(struct sim *sim, struct sim_node *node, int guest)
{
    struct sim_copy *copy = ops_copy_of(node, guest);

    if (copy->state == 0)
        ops_finish(sim, node, guest, 0, "", NULL);
    else if (copy->migration != copy->op->migration)
        ops_refuse(sim, node, guest, -ENOENT, "is here for another reason");
    else if (!ops_is_target(copy) && copy->epoch != copy->op->copy.epoch)
        ops_refuse(sim, node, guest, -ESTALE, "is here with another epoch");
    else if (!ops_is_target(copy) && copy->state != GUEST_HANDED_OVER)
        ops_refuse(sim, node, guest, -EBUSY, "runs: stop it instead");
    else
        ops_after(sim, node, guest, sim_between(sim, 2 * MS, 50 * MS));
}
