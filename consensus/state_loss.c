/* state_loss: nodes that are lost, rebooted or back, and what that does to their guests; see
 * state_apply.h and the laws of leases and of moving. */
#include <errno.h>
#include <string.h>

#include "base/planted.h"
#include "consensus/state_apply.h"

/* The node of an event that was decided on its present epoch, or a refusal. */
static struct node *event_node_or_refuse(struct entry *e)
{
    uint64_t id = e->command->node_event.node;
    struct node *node = node_of(e->state, id);

    if (node == NULL)
        refuse(e, -ENOENT, "node %llu is unknown", (unsigned long long)id);
    else if (node->epoch != e->command->node_event.expect_epoch) {
        refuse(e, -ESTALE, "node %s is at epoch %llu, not %llu", node->name,
               (unsigned long long)node->epoch,
               (unsigned long long)e->command->node_event.expect_epoch);
        node = NULL;
    }
    return node;
}

/* A guest that stays may run on alone after a loss: only a reboot says that it does not. */
static bool may_run_on(const struct guest *guest, bool rebooted)
{
    return guest->spec.failover == FAILOVER_STAY && !rebooted;
}

/* A migration ends with either of its nodes, but for one that is committed and loses only its
 * source: its guest is at the target already. One that is committed and loses its target leaves the
 * source's frozen copy, which goes on. */
static void drop_migrations(struct state *s, uint64_t node, bool rebooted)
{
    for (size_t i = s->n_migrations; i-- > 0;) {
        const struct migration *m = &s->migrations[i];

        if (m->to == node && !may_run_on(state_guest(s, m->guest), rebooted) &&
            migration_return(s, m->id, MIGRATION_COMMITTED))
            continue;
        if (m->to == node || (m->from == node && m->phase == MIGRATION_RESERVED))
            migration_drop(s, m->id);
    }
}

static void release_guests(struct state *s, uint64_t node, uint64_t index, bool rebooted)
{
    for (size_t i = 0; i < s->n_guests; i++) {
        struct guest *guest = &s->guests[i];
        bool stays = guest->spec.failover == FAILOVER_STAY &&
                     !(rebooted && guest->desired == DESIRED_STOPPED) &&
                     !IS_PLANTED(STAY_PLACED_AGAIN);

        if (guest->placement.node != node)
            continue;
        if (!stays)
            guest_unplace(guest, index);
        else if (rebooted)
            guest->placement.epoch = index;
    }
}

void apply_node_lost(struct entry *e)
{
    uint64_t term = e->command->node_event.term;
    struct node *node;

    if ((term != e->term || term != e->state->leader_term) && !IS_PLANTED(LOSS_OF_ANY_TERM)) {
        refuse(e, -ESTALE, "decided in term %llu, which is over", (unsigned long long)term);
        return;
    }
    node = event_node_or_refuse(e);
    if (node == NULL)
        return;
    if (node->state == NODE_LOST) {
        refuse(e, -ESTALE, "node %s is lost already", node->name);
        return;
    }
    node->state = NODE_LOST;
    node->epoch = e->index;
    drop_migrations(e->state, node->id, false);
    release_guests(e->state, node->id, e->index, false);
    e->outcome->id = node->id;
}

void apply_node_rebooted(struct entry *e)
{
    static const uint8_t no_boot[NONCE_SIZE];
    const uint8_t *boot = e->command->node_event.boot_nonce;
    struct node *node = event_node_or_refuse(e);
    bool first;

    if (node == NULL)
        return;
    if (memcmp(boot, no_boot, NONCE_SIZE) == 0) {
        refuse(e, -EINVAL, "node %s: a boot needs a nonce", node->name);
        return;
    }
    if (memcmp(boot, node->boot_nonce, NONCE_SIZE) == 0) {
        refuse(e, -ESTALE, "node %s: this boot is known already", node->name);
        return;
    }
    first = memcmp(node->boot_nonce, no_boot, NONCE_SIZE) == 0;
    memcpy(node->boot_nonce, boot, NONCE_SIZE);
    e->outcome->id = node->id;
    if (first) /* nothing of an earlier boot was ever seen */
        return;
    node->epoch = e->index;
    drop_migrations(e->state, node->id, true);
    release_guests(e->state, node->id, e->index, true);
}

void apply_node_returned(struct entry *e)
{
    struct node *node = event_node_or_refuse(e);

    if (node == NULL)
        return;
    if (node->state != NODE_LOST) {
        refuse(e, -ESTALE, "node %s is not lost", node->name);
        return;
    }
    node->state = NODE_UP;
    node->epoch = e->index;
    e->outcome->id = node->id;
}
