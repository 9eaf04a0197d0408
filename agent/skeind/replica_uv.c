/* replica_uv: the replicated log's thread, as core sees it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/skeind/replica_copy.h"
#include "agent/skeind/skeind_uv.h"
#include "base/clean.h"
#include "base/log.h"
#include "consensus/link_uv.h"
#include "consensus/replica.h"

enum { EVENTS_A_TURN = 256 };

static void on_entry(struct skeind *s, const struct replica_event *event)
{
    struct core_event out = {
        .type = event->type == REPLICA_COMMITTED ? CORE_COMMITTED : CORE_RESTORED,
        .index = event->entry.index,
        .term = event->entry.term,
        .data = event->entry.bytes,
        .size = event->entry.size,
    };

    skeind_event(s, &out);
}

static void on_role(struct skeind *s, const struct replica_event *event)
{
    struct core_event out = {
        .type = CORE_ROLE,
        .is_leader = event->role.role == REPLICA_LEADER,
        .term = event->role.term,
        .leader = event->role.leader,
    };

    s->raft_leader = event->role.leader;
    if (out.is_leader)
        skeind_cluster_begin(s);
    log_debug("raft: %s in term %llu, leader %llu", out.is_leader ? "leader" : "no leader",
              (unsigned long long)out.term, (unsigned long long)out.leader);
    skeind_event(s, &out);
}

static void on_members(struct skeind *s, const struct replica_event *event)
{
    cleanup_free struct core_member *members = calloc(event->members.n + 1, sizeof(*members));
    struct core_event out = {.type = CORE_CONFIGURATION,
                             .index = event->members.index,
                             .n_members = event->members.n,
                             .members = members};

    if (members == NULL)
        abort(); /* authority must not be counted on an old configuration */
    for (uint32_t i = 0; i < event->members.n; i++) {
        members[i] =
            (struct core_member){event->members.members[i].id, event->members.members[i].role};
        log_debug("raft: configuration %llu: node %llu is %s", (unsigned long long)out.index,
                  (unsigned long long)members[i].id, raft_role_name(members[i].role));
    }
    skeind_event(s, &out);
}

static void on_failed(struct skeind *s, const struct err *failed)
{
    if (failed->code == -ESTALE) {
        skeind_cluster_leave(s, failed->text, SKEIND_EXIT_IDENTITY);
        return;
    }
    log_error("raft: %s", failed->text);
    skeind_stop(s, 1);
}

static void on_propose_failed(struct skeind *s, const struct replica_event *event)
{
    struct core_event out = {.type = CORE_PROPOSE_FAILED, .code = event->propose_failed.error};

    memcpy(out.request, event->propose_failed.request, NONCE_SIZE);
    skeind_event(s, &out);
}

static void on_event(struct skeind *s, const struct replica_event *event)
{
    struct core_event done = {.type = CORE_MEMBERSHIP_DONE};

    switch (event->type) {
    case REPLICA_STARTED:
        s->loaded_index = event->started.last_index;
        log_info("raft: started in term %llu, log up to %llu%s",
                 (unsigned long long)event->started.term,
                 (unsigned long long)event->started.last_index,
                 event->started.real_time ? ", real-time" : ", no real-time priority");
        break;
    case REPLICA_FAILED:
        on_failed(s, &event->failed);
        break;
    case REPLICA_COMMITTED:
    case REPLICA_RESTORED:
        on_entry(s, event);
        break;
    case REPLICA_ROLE:
        on_role(s, event);
        break;
    case REPLICA_MEMBERS:
        on_members(s, event);
        break;
    case REPLICA_PROPOSE_FAILED:
        on_propose_failed(s, event);
        break;
    case REPLICA_CHANGE_DONE:
        log_debug("raft: membership change %llu: %s", (unsigned long long)event->change_done.cookie,
                  event->change_done.error == 0 ? "done" : strerror(-event->change_done.error));
        done.serial = (uint32_t)event->change_done.cookie;
        done.code = event->change_done.error;
        skeind_event(s, &done);
        break;
    case REPLICA_WAITING:
        log_warn("raft: another process still holds the log; waiting for it to end");
        break;
    }
}

static void on_wake(uv_async_t *async)
{
    struct skeind *s = async->data;
    struct replica_event event;

    for (int i = 0; s->replica != NULL && i < EVENTS_A_TURN; i++) {
        if (!replica_next_event(s->replica, &event))
            return;
        on_event(s, &event);
        replica_event_deinit(&event);
    }
    uv_async_send(async);
}

static void wake(void *data)
{
    uv_async_send(data);
}

int skeind_replica_start(struct skeind *s, bool bootstrap, struct err *err)
{
    const struct member *own = members_find(&s->members, s->members.own_id);
    struct replica_config config = {
        .directory = s->config.data_dir,
        .id = s->members.own_id,
        .address = own->address,
        .port = PORT_RAFT,
        .identity = &s->identity,
        .keyring = s->keyring,
        .election_ms = s->members.timers.election_ms,
        .heartbeat_ms = s->members.timers.heartbeat_ms,
        .connect_ms = timers_silence_ms(&s->members.timers, LINK_DEFAULT_CONNECT_MS),
        .disk_stall_ms = s->config.disk_stall_ms,
        .bootstrap = bootstrap,
        .fsm = {.apply = replica_copy_apply,
                .snapshot = replica_copy_snapshot,
                .restore = replica_copy_restore,
                .election_limit_ms = replica_copy_election_limit_ms},
        .wake = wake,
        .wake_data = &s->replica_wake,
    };
    int rc;

    s->copy = replica_copy_new();
    if (s->copy == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    config.fsm.data = s->copy;
    memcpy(config.cluster, s->members.cluster, NONCE_SIZE);
    s->replica_wake.data = s;
    rc = uv_async_init(s->loop, &s->replica_wake, on_wake);
    if (rc < 0)
        return err_set(err, rc, "cannot wake the loop: %s", strerror(-rc));
    return replica_start(&config, &s->replica, err);
}

void skeind_replica_stop(struct skeind *s)
{
    replica_stop(s->replica);
    s->replica = NULL;
    replica_copy_free(s->copy);
    s->copy = NULL;
}

void skeind_propose(struct skeind *s, const struct core_action *action)
{
    struct core_event failed = {.type = CORE_PROPOSE_FAILED, .code = -ENOTCONN};
    int rc = -ENOTCONN;

    if (s->replica != NULL)
        rc = replica_propose(s->replica, action->request, action->data, action->size);
    if (rc == 0)
        return;
    log_warn("raft: cannot propose: %s", strerror(-rc));
    memcpy(failed.request, action->request, NONCE_SIZE);
    skeind_event(s, &failed);
}

void skeind_membership(struct skeind *s, const struct core_action *action)
{
    struct core_event done = {.type = CORE_MEMBERSHIP_DONE, .serial = action->serial};
    const struct node *node = state_node(core_state(s->core), action->node);
    int rc = -ENOENT;

    log_debug("raft: membership change %u: %s node %llu, %s", action->serial,
              action->member_op == MEMBER_ADD      ? "add"
              : action->member_op == MEMBER_ASSIGN ? "assign"
              : action->member_op == MEMBER_REMOVE ? "remove"
                                                   : "hand over to",
              (unsigned long long)action->node, raft_role_name(action->role));
    switch (action->member_op) {
    case MEMBER_ADD:
        if (node != NULL)
            rc = replica_add(s->replica, action->serial, action->node, node->facts.address,
                             PORT_RAFT);
        break;
    case MEMBER_ASSIGN:
        rc = replica_assign(s->replica, action->serial, action->node, action->role);
        break;
    case MEMBER_REMOVE:
        rc = replica_remove(s->replica, action->serial, action->node);
        break;
    case MEMBER_TRANSFER:
        rc = replica_transfer(s->replica, action->serial, action->node);
        break;
    }
    if (rc == 0)
        return;
    done.code = rc;
    skeind_event(s, &done);
}
