/* oracle: the log as it was committed, applied once, the moment any server knows an entry as
 * committed; what every core must agree with. See sim.h. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

/* The whole state is compared at every so many indexes (each time costs its bytes), and at the end.
 */
enum { DIGEST_EVERY = 8 };

struct owner {
    uint64_t epoch, node;
};

struct move {
    uint64_t id;
    enum move_end end;
};

struct oracle {
    struct state state;
    size_t n, capacity; /* of entries and digests; index = position + 1 */
    const struct raft_entry **entries;
    uint64_t *digests; /* 0 = not taken */
    size_t n_owners[SIM_GUESTS];
    struct owner *owners[SIM_GUESTS]; /* every epoch that the guest ever had */
    size_t n_moves;
    struct move *moves;
    bool was_placed[SIM_GUESTS]; /* since it was created */
};

void oracle_setup(struct sim *sim)
{
    sim->oracle = calloc(1, sizeof(*sim->oracle));
    if (sim->oracle == NULL)
        abort();
    state_init(&sim->oracle->state);
}

void oracle_free(struct sim *sim)
{
    struct oracle *o = sim->oracle;

    state_deinit(&o->state);
    for (int i = 0; i < SIM_GUESTS; i++)
        free(o->owners[i]);
    free(o->entries);
    free(o->digests);
    free(o->moves);
    free(o);
}

const struct state *oracle_state(const struct sim *sim)
{
    return &sim->oracle->state;
}

/* ---- one owner a guest and epoch */

static void check_owner(struct sim *sim, int guest, const struct placement *placement)
{
    struct oracle *o = sim->oracle;
    size_t n = o->n_owners[guest];
    struct owner *owners = o->owners[guest];

    if (n > 0 && owners[n - 1].epoch == placement->epoch && owners[n - 1].node == placement->node)
        return;
    for (size_t i = 0; i < n; i++) {
        if (owners[i].epoch == placement->epoch && owners[i].node != placement->node)
            sim_fail(sim, "g%d of epoch %llu has two owners: %llu and %llu", guest,
                     (unsigned long long)placement->epoch, (unsigned long long)owners[i].node,
                     (unsigned long long)placement->node);
    }
    owners = realloc(owners, (n + 1) * sizeof(*owners));
    if (owners == NULL)
        abort();
    owners[n] = (struct owner){placement->epoch, placement->node};
    o->owners[guest] = owners;
    o->n_owners[guest] = n + 1;
}

static void check_owners(struct sim *sim)
{
    const struct state *state = &sim->oracle->state;

    for (size_t i = 0; i < state->n_guests; i++)
        check_owner(sim, sim_guest_of(state->guests[i].spec.name), &state->guests[i].placement);
}

/* ---- migrations and their ends */

static struct move *move_of(const struct oracle *o, uint64_t id)
{
    for (size_t i = o->n_moves; i-- > 0;) {
        if (o->moves[i].id == id)
            return &o->moves[i];
    }
    return NULL;
}

enum move_end oracle_move_end(const struct sim *sim, uint64_t id)
{
    const struct move *move = move_of(sim->oracle, id);

    return move != NULL ? move->end : MOVE_OPEN;
}

static void add_move(struct oracle *o, uint64_t id)
{
    o->moves = realloc(o->moves, (o->n_moves + 1) * sizeof(*o->moves));
    if (o->moves == NULL)
        abort();
    o->moves[o->n_moves++] = (struct move){.id = id};
}

static void end_move(struct sim *sim, uint64_t id, enum move_end end, enum count count)
{
    struct move *move = move_of(sim->oracle, id);

    if (move == NULL)
        return;
    move->end = end;
    sim_count(sim, count);
}

static void note_dropped_moves(struct sim *sim)
{
    struct oracle *o = sim->oracle;

    for (size_t i = 0; i < o->n_moves; i++) {
        if (o->moves[i].end == MOVE_OPEN && state_migration(&o->state, o->moves[i].id) == NULL)
            end_move(sim, o->moves[i].id, MOVE_DROPPED, COUNT_MIGRATION_DROPPED);
    }
}

/* ---- what happened */

static void note_place(struct sim *sim, const char *name)
{
    int guest = sim_guest_of(name);

    sim_count(sim, COUNT_FAILOVER);
    sim_trace(sim, NULL, "g%d is placed again on node %llu", guest,
              (unsigned long long)state_guest(&sim->oracle->state, name)->placement.node);
}

static void note(struct sim *sim, const struct command *c, const struct outcome *out)
{
    uint64_t id = out->id;

    switch (c->type) {
    case COMMAND_TERM_STARTED:
        sim_count(sim, COUNT_LEADER);
        break;
    case COMMAND_NODE_LOST:
        sim_count(sim, COUNT_NODE_LOST);
        break;
    case COMMAND_NODE_REBOOTED:
        sim_count(sim, COUNT_NODE_REBOOTED);
        break;
    case COMMAND_NODE_RETURNED:
        sim_count(sim, COUNT_NODE_RETURNED);
        break;
    case COMMAND_GUEST_CREATE:
        sim_count(sim, COUNT_GUEST_CREATED);
        break;
    case COMMAND_GUEST_PLACE:
        note_place(sim, c->guest_place.name);
        break;
    case COMMAND_GUEST_EVICT:
        sim_count(sim, COUNT_GUEST_EVICTED);
        break;
    case COMMAND_GUEST_LEAVE:
        sim_count(sim, COUNT_GUEST_MADE_LEAVE);
        break;
    case COMMAND_GUEST_STOPPED:
        sim_count(sim, COUNT_GUEST_STOPPED);
        break;
    case COMMAND_GUEST_START:
        sim_count(sim, COUNT_GUEST_STARTED);
        break;
    case COMMAND_GUEST_REMOVE:
        sim_count(sim, COUNT_GUEST_REMOVED);
        break;
    case COMMAND_MIGRATION_RESERVE:
        add_move(sim->oracle, id);
        sim_count(sim, COUNT_MIGRATION_RESERVED);
        break;
    case COMMAND_MIGRATION_COMMIT:
        sim_count(sim, COUNT_MIGRATION_COMMITTED);
        break;
    case COMMAND_MIGRATION_ABORT:
        end_move(sim, id, MOVE_ABORTED, COUNT_MIGRATION_ABORTED);
        break;
    case COMMAND_MIGRATION_RETURN:
        end_move(sim, id, MOVE_ABORTED, COUNT_MIGRATION_RETURNED);
        break;
    case COMMAND_MIGRATION_DONE:
        end_move(sim, id, MOVE_DONE, COUNT_MIGRATION_DONE);
        break;
    default:
        break;
    }
}

static void check_digest(struct sim *sim, const struct state *state, const char *who, unsigned at)
{
    struct oracle *o = sim->oracle;
    struct err err;
    uint64_t digest;

    if (state->index == 0 || state->index % DIGEST_EVERY != 0)
        return;
    digest = state_digest(state);
    if (o->digests[state->index - 1] == 0) {
        o->digests[state->index - 1] = digest;
        if (state_check(state, &err) < 0)
            sim_fail(sim, "state at index %llu: %s", (unsigned long long)state->index, err.text);
    } else if (o->digests[state->index - 1] != digest) {
        sim_fail(sim, "state of %s%u at index %llu differs", who, at,
                 (unsigned long long)state->index);
    }
}

static void strike_move(struct sim *sim, const struct command *c)
{
    const struct state *state = &sim->oracle->state;
    const struct migration *m = &state->migrations[state->n_migrations - 1];

    if (c->type == COMMAND_MIGRATION_RESERVE || c->type == COMMAND_MIGRATION_COMMIT)
        aims_in_move(sim, m->from, m->to);
}

static void apply(struct sim *sim, const struct raft_entry *entry)
{
    struct oracle *o = sim->oracle;
    struct command command;
    struct outcome outcome;
    uint64_t index = o->state.index + 1;

    if (entry->size == 0 || command_decode(entry->data, entry->size, &command, NULL) < 0) {
        state_skip(&o->state, index, entry->term);
        return;
    }
    state_apply(&o->state, index, entry->term, &command, &outcome);
    sim_trace(sim, NULL, "log %llu.%llu: %s%s%s", (unsigned long long)index,
              (unsigned long long)entry->term, command_type_name(command.type),
              outcome.code < 0 ? " refused: " : "", outcome.code < 0 ? outcome.reason : "");
    users_outcome(sim, command.request, &outcome);
    if (o->state.n_migrations > 0)
        strike_move(sim, &command);
    if (outcome.code == 0 && outcome.index == index)
        note(sim, &command, &outcome);
    note_dropped_moves(sim);
    check_owners(sim);
    command_deinit(&command);
    check_guests(sim);
}

static void grow(struct oracle *o)
{
    size_t capacity = o->capacity == 0 ? 256 : o->capacity * 2;

    if (o->n < o->capacity)
        return;
    o->entries = realloc(o->entries, capacity * sizeof(*o->entries));
    o->digests = realloc(o->digests, capacity * sizeof(*o->digests));
    if (o->entries == NULL || o->digests == NULL)
        abort();
    memset(&o->digests[o->capacity], 0, (capacity - o->capacity) * sizeof(*o->digests));
    o->capacity = capacity;
}

void oracle_commit(struct sim *sim, const struct sim_node *node, uint64_t index,
                   const struct raft_entry *entry)
{
    struct oracle *o = sim->oracle;

    if (index <= o->n) {
        if (o->entries[index - 1] != entry)
            sim_fail(sim, "n%u committed another entry at index %llu: the model is wrong",
                     node->at + 1, (unsigned long long)index);
        return;
    }
    if (index != o->n + 1)
        abort();
    grow(o);
    o->entries[o->n++] = entry;
    apply(sim, entry);
    check_digest(sim, &o->state, "the log ", 0);
}

void oracle_applied(struct sim *sim, const struct sim_node *node)
{
    const struct state *state = core_state(node->core);

    if (state->index > sim->oracle->n)
        sim_fail(sim, "n%u applied index %llu, which nobody committed", node->at + 1,
                 (unsigned long long)state->index);
    else
        check_digest(sim, state, "n", node->at + 1);
}
