/* memory: a guest's memory on its way: what its source is told, and what follows a handover; see
 * core/internal.h. */
#include <errno.h>

#include "agent/core/internal.h"

static uint32_t less_of(uint32_t a, uint32_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* What is free of the slower uplink, as far as this node knows. */
static uint32_t free_kbps(const struct core *core, const struct node *from, const struct node *to)
{
    uint64_t kbps = from->facts.backhaul_kbps;
    uint32_t used = core->node.backhaul_permille < 1000 ? core->node.backhaul_permille : 1000;

    if (kbps != 0)
        kbps = kbps * (1000 - used) / 1000 + 1;
    return less_of((uint32_t)kbps, to->facts.backhaul_kbps);
}

void core_move_wish(const struct core *core, const struct guest *guest, uint64_t from, uint64_t to,
                    const struct move_terms *terms, struct mode_wish *ret)
{
    const struct node *source = state_node(&core->state, from);
    const struct node *target = state_node(&core->state, to);

    *ret = (struct mode_wish){.terms = *terms,
                              .allows_post = guest != NULL && core_allows_post(&guest->spec)};
    if (source == NULL || target == NULL)
        return;
    ret->link_kbps = free_kbps(core, source, target);
    ret->target_can_lazy = target->facts.can_lazy;
}

void core_ask_beside(struct core *core, struct local_guest *local, enum guard_op op, uint64_t epoch,
                     uint64_t migration)
{
    uint32_t busy = local->busy;

    if (core_is_asked(core, op, migration))
        return;
    core_ask(core, op, local->name, epoch, migration);
    local->busy = busy;
}

void core_move_awaited(struct core *core, const struct asked *asked,
                       const struct guard_reply *reply)
{
    struct local_move *move = core_move_of(core, asked->migration);

    core->node.dirty = true;
    if (reply->code < 0 && reply->code != -EREMOTEIO) /* asked again, as long as it runs */
        return;
    move = move != NULL ? move : core_move_made(core, asked->migration);
    move->report.memory_here = reply->code == 0;
    if (reply->code < 0 && !move->report.failed)
        core_move_failed(core, move, asked, reply);
    core_node_changed(core);
}
