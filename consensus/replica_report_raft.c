/* What the owner is told: events, its role, the members. */
#include <stdlib.h>

#include "consensus/replica_raft.h"

void replica_tell(struct replica *r, struct replica_event *event)
{
    if (event_queue_push(&r->events, event))
        r->config.wake(r->config.wake_data);
}

static enum replica_role role_of(const struct replica *r)
{
    switch (r->raft.state) {
    case RAFT_LEADER:
        return REPLICA_LEADER;
    case RAFT_CANDIDATE:
        return REPLICA_CANDIDATE;
    default:
        return REPLICA_FOLLOWER;
    }
}

static void tell_role(struct replica *r)
{
    struct replica_event event = {.type = REPLICA_ROLE};
    const char *address;
    raft_id leader = 0;

    raft_leader(&r->raft, &leader, &address);
    event.role.role = role_of(r);
    event.role.term = raft_current_term(&r->raft);
    event.role.leader = leader;
    if (leader != 0 && leader != r->last_leader) {
        r->last_leader = leader;
        patience_begin(&r->patience);
    }
    if (event.role.role == r->told.role && event.role.term == r->told.term &&
        leader == r->told.leader)
        return;
    r->told.role = event.role.role;
    r->told.term = event.role.term;
    r->told.leader = leader;
    replica_tell(r, &event);
}

static enum raft_role member_role(int role)
{
    return role == RAFT_VOTER ? ROLE_VOTER : role == RAFT_STANDBY ? ROLE_STANDBY : ROLE_SPARE;
}

/* Of the newest configuration of a log that was just loaded it is not known yet whether it is
 * committed. Until it is, nothing is told: the one before would most probably be an old one. */
static void tell_members(struct replica *r)
{
    const struct raft_configuration *c = &r->raft.configuration_committed;
    struct replica_event event = {.type = REPLICA_MEMBERS};

    if (r->raft.configuration_committed_index == r->told.configuration ||
        (r->told.configuration == 0 && r->raft.configuration_uncommitted_index != 0))
        return;
    r->told.configuration = r->raft.configuration_committed_index;
    event.members.index = r->told.configuration;
    event.members.members = calloc(c->n > 0 ? c->n : 1, sizeof(*event.members.members));
    if (event.members.members == NULL)
        abort();
    for (unsigned i = 0; i < c->n; i++) {
        struct replica_member *m = &event.members.members[event.members.n++];

        m->id = c->servers[i].id;
        m->role = member_role(c->servers[i].role);
        if (replica_address_parse(c->servers[i].address, &m->address, &m->port) < 0)
            m->address = m->port = 0;
    }
    replica_tell(r, &event);
}

void replica_report(struct replica *r)
{
    tell_members(r);
    tell_role(r);
}
