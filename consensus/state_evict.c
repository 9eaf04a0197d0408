/* state_evict: less important guests of one node give way to one that waits; see state_apply.h.
 *
 * Giving way is only an intent: a victim keeps its place until its guard confirmed the stop, like
 * any guest that is stopped, and then waits for another one.
 */
#include <errno.h>
#include <string.h>

#include "consensus/state_apply.h"

static bool refuse_preemptor(struct entry *e, const char *name, const struct guest *guest)
{
    uint64_t epoch = e->command->guest_evict.expect_epoch;

    if (guest == NULL)
        refuse(e, -ENOENT, "guest %s is unknown", name);
    else if (guest->desired != DESIRED_RUNNING || guest->placement.node != 0)
        refuse(e, -ESTALE, "guest %s does not wait for a place", name);
    else if (guest->placement.epoch != epoch)
        refuse(e, -ESTALE, "guest %s is at epoch %llu, not %llu", name,
               (unsigned long long)guest->placement.epoch, (unsigned long long)epoch);
    else if (!state_may_preempt(e->state, &guest->spec))
        refuse(e, -ESTALE, "guest %s may not preempt", name);
    return e->outcome->code < 0;
}

static bool refuse_node(struct entry *e, const struct guest *guest)
{
    uint64_t id = e->command->guest_evict.node;
    const struct node *node = state_node(e->state, id);
    char why[REASON_SIZE];
    int code;

    if (node == NULL) {
        refuse(e, -ENOENT, "node %llu is unknown", (unsigned long long)id);
        return true;
    }
    code = capacity_node_takes(node, &guest->spec, why);
    if (code < 0)
        refuse(e, code, "node %s: %s", node->name, why);
    return code < 0;
}

static bool refuse_victim(struct entry *e, const struct guest *guest, uint32_t i)
{
    const char *name = e->command->guest_evict.victims[i].name;
    uint64_t epoch = e->command->guest_evict.victims[i].epoch;
    const struct guest *victim = state_guest(e->state, name);

    if (victim == NULL)
        refuse(e, -ENOENT, "guest %s is unknown", name);
    else if (victim->placement.node != e->command->guest_evict.node ||
             victim->placement.epoch != epoch)
        refuse(e, -ESTALE, "guest %s is not on that node at epoch %llu", name,
               (unsigned long long)epoch);
    else if (victim->spec.priority >= guest->spec.priority)
        refuse(e, -EINVAL, "guest %s is not less important than guest %s", name, guest->spec.name);
    else if (!guest_may_give_way(victim))
        refuse(e, -ESTALE, "guest %s stays, moves or is being stopped", name);
    return e->outcome->code < 0;
}

void apply_guest_leave(struct entry *e)
{
    const char *name = e->command->guest_leave.name;
    struct guest *guest = guest_of(e->state, name);
    const struct node *node = guest != NULL ? state_node(e->state, guest->placement.node) : NULL;

    if (guest == NULL)
        refuse(e, -ENOENT, "guest %s is unknown", name);
    else if (guest->placement.epoch != e->command->guest_leave.expect_epoch || node == NULL)
        refuse(e, -ESTALE, "guest %s is at another epoch, or runs nowhere", name);
    else if (!node->draining)
        refuse(e, -ESTALE, "node %s does not drain any more", node->name);
    else if (!guest_may_start_elsewhere(guest))
        refuse(e, -ESTALE, "guest %s stays, moves or is being stopped", name);
    else
        guest->must_leave = true;
}

void apply_guest_evict(struct entry *e)
{
    const char *name = e->command->guest_evict.name;
    struct guest *guest = guest_of(e->state, name);
    uint32_t n = e->command->guest_evict.n_victims;

    if (refuse_preemptor(e, name, guest) || refuse_node(e, guest))
        return;
    for (uint32_t i = 0; i < n; i++) {
        if (refuse_victim(e, guest, i))
            return;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct guest *victim = guest_of(e->state, e->command->guest_evict.victims[i].name);

        memcpy(victim->preempted_by, guest->spec.name, NAME_SIZE);
    }
    guest->clears = e->command->guest_evict.node;
}
