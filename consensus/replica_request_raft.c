/* Proposals and changes of membership: from the owner's queue to libraft, and their outcomes back.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/replica_raft.h"

static int errno_of(int status)
{
    switch (status) {
    case 0:
        return 0;
    case RAFT_NOTLEADER:
        return -ENOTCONN;
    case RAFT_LEADERSHIPLOST:
        return -EAGAIN;
    case RAFT_CANTCHANGE:
    case RAFT_BUSY:
        return -EBUSY;
    case RAFT_DUPLICATEID:
    case RAFT_DUPLICATEADDRESS:
        return -EEXIST;
    case RAFT_NOTFOUND:
    case RAFT_BADID:
        return -ENOENT;
    case RAFT_BADROLE:
        return -EALREADY;
    case RAFT_NOCONNECTION:
        return -EHOSTUNREACH;
    case RAFT_NOSPACE:
        return -ENOSPC;
    case RAFT_NOMEM:
        return -ENOMEM;
    case RAFT_CANCELED:
    case RAFT_SHUTDOWN:
        return -ECANCELED;
    default:
        return -EIO;
    }
}

/* ---- proposals */

struct proposal {
    struct raft_apply apply;
    struct replica *replica;
    uint8_t request[NONCE_SIZE];
    size_t size;
};

static void proposal_fail(struct replica *r, const uint8_t request[NONCE_SIZE], int error)
{
    struct replica_event event = {.type = REPLICA_PROPOSE_FAILED};

    memcpy(event.propose_failed.request, request, NONCE_SIZE);
    event.propose_failed.error = error;
    replica_tell(r, &event);
}

/* ---- followers hear of a commit with the next message of their leader: without one, only with its
 * next heartbeat. An empty entry behind the last proposal of a burst takes the news along. */

static void on_spread(struct raft_barrier *request, int status)
{
    struct replica *r = request->data;

    (void)status;
    r->is_spreading = false;
}

static void spread_commit(struct replica *r)
{
    if (r->is_closing || r->is_spreading || r->in_flight > 0 || r->raft.configuration.n < 2 ||
        raft_state(&r->raft) != RAFT_LEADER || raft_transferee(&r->raft) != 0)
        return;
    r->spreader.data = r;
    r->is_spreading = raft_barrier(&r->raft, &r->spreader, on_spread) == 0;
}

/* Success was told when the entry was applied. */
static void on_applied(struct raft_apply *apply, int status, void *result)
{
    struct proposal *p = apply->data;

    (void)result;
    if (status != 0)
        proposal_fail(p->replica, p->request, errno_of(status));
    p->replica->in_flight -= p->size;
    replica_request_serve(p->replica);
    if (status == 0)
        spread_commit(p->replica);
    free(p);
}

static int propose(struct replica *r, const struct request *request)
{
    struct proposal *p;
    struct raft_buffer buffer;
    int rc;

    if (raft_state(&r->raft) != RAFT_LEADER || raft_transferee(&r->raft) != 0)
        return -ENOTCONN;
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        return -ENOMEM;
    rc = replica_entry_encode(raft_current_term(&r->raft), request->bytes, request->size, &buffer);
    if (rc < 0) {
        free(p);
        return rc;
    }
    p->apply.data = p;
    p->replica = r;
    p->size = request->size;
    memcpy(p->request, request->request, NONCE_SIZE);
    rc = raft_apply(&r->raft, &p->apply, &buffer, 1, on_applied);
    if (rc == 0) {
        r->in_flight += p->size;
        return 0;
    }
    /* Who owns the buffer after other errors is not said: better lost than freed twice. */
    if (rc == RAFT_NOTLEADER || rc == RAFT_NOSPACE)
        raft_free(buffer.base);
    free(p);
    return errno_of(rc);
}

/* ---- membership */

struct change {
    union {
        struct raft_change change;
        struct raft_transfer transfer;
    };
    struct replica *replica;
    uint64_t cookie, id;
};

static void change_done(struct replica *r, uint64_t cookie, int error)
{
    struct replica_event event = {.type = REPLICA_CHANGE_DONE};

    event.change_done.cookie = cookie;
    event.change_done.error = error;
    replica_tell(r, &event);
}

static void on_changed(struct raft_change *request, int status)
{
    struct change *c = request->data;

    c->replica->has_change = false;
    change_done(c->replica, c->cookie, errno_of(status));
    free(c);
}

static void on_transferred(struct raft_transfer *request)
{
    struct change *c = request->data;
    const char *address;
    raft_id leader;
    bool done;

    raft_leader(&c->replica->raft, &leader, &address);
    done = c->id != 0 ? leader == c->id : leader != 0 && leader != c->replica->config.id;
    c->replica->has_change = false;
    change_done(c->replica, c->cookie, done ? 0 : -ETIMEDOUT);
    free(c);
}

static int assign(struct replica *r, struct change *c, enum raft_role role)
{
    static const int roles[] = {
        [ROLE_VOTER] = RAFT_VOTER, [ROLE_STANDBY] = RAFT_STANDBY, [ROLE_SPARE] = RAFT_SPARE};

    return raft_assign(&r->raft, &c->change, c->id, roles[role], on_changed);
}

static int add(struct replica *r, struct change *c, const struct request *request)
{
    char address[REPLICA_ADDRESS_SIZE];

    replica_address_format(request->address, request->port, address);
    return raft_add(&r->raft, &c->change, c->id, address, on_changed);
}

static int submit_change(struct replica *r, struct change *c, const struct request *request)
{
    switch (request->type) {
    case REQUEST_ADD:
        return add(r, c, request);
    case REQUEST_ASSIGN:
        return assign(r, c, request->role);
    case REQUEST_REMOVE:
        return raft_remove(&r->raft, &c->change, c->id, on_changed);
    default:
        return raft_transfer(&r->raft, &c->transfer, c->id, on_transferred);
    }
}

static int change(struct replica *r, const struct request *request)
{
    struct change *c;
    int rc;

    /* libraft asserts some of what it should refuse, and leaks on the rest. */
    if (raft_state(&r->raft) != RAFT_LEADER)
        return -ENOTCONN;
    if (raft_transferee(&r->raft) != 0)
        return -ENOTCONN; /* on its way out */
    if (r->has_change || r->raft.configuration_uncommitted_index != 0)
        return -EBUSY;
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    if (request->type == REQUEST_TRANSFER)
        c->transfer.data = c;
    else
        c->change.data = c;
    c->replica = r;
    c->cookie = request->cookie;
    c->id = request->id;
    r->has_change = true;
    rc = submit_change(r, c, request);
    if (rc == 0)
        return 0;
    r->has_change = false;
    free(c);
    return errno_of(rc);
}

static void serve(struct replica *r, struct request *request)
{
    int rc;

    switch (request->type) {
    case REQUEST_PROPOSE:
        rc = propose(r, request);
        if (rc < 0)
            proposal_fail(r, request->request, rc);
        break;
    case REQUEST_RESYNC:
        replica_resync(r);
        break;
    case REQUEST_ADD:
    case REQUEST_ASSIGN:
    case REQUEST_REMOVE:
    case REQUEST_TRANSFER:
        rc = change(r, request);
        if (rc < 0)
            change_done(r, request->cookie, rc);
        break;
    }
    free(request);
}

/* One proposal may always pass, however large. */
static size_t room_for_proposals(const struct replica *r)
{
    if (r->in_flight == 0)
        return SIZE_MAX;
    return r->in_flight < REPLICA_MAX_IN_FLIGHT ? REPLICA_MAX_IN_FLIGHT - r->in_flight : 0;
}

void replica_request_serve(struct replica *r)
{
    struct request *request;

    while (!r->is_closing &&
           (request = request_queue_pop(&r->requests, room_for_proposals(r))) != NULL)
        serve(r, request);
}
