/* checks: what must be true after every step, and in the end; see sim.h.
 *
 *   one copy     at most one copy of a guest runs anywhere, and it is the owner's by the log: as
 *                long as one runs, the log says so (checked at every change of a copy, of a freeze,
 *                and of the log)
 *   no majority  nothing is started where no majority could be reached for its longest lease
 *                and an authority window
 *   settled      after the last fault all is as the users want it
 *
 * In seeds that hang guards, a copy counts only as long as the kernel's own deadline lets its
 * packets out: nobody can freeze when the guard itself is stopped, and the promise is then "reaches
 * nobody".
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/model_raft.h"

static bool reaches(const struct sim *sim, const struct sim_node *node, const struct sim_copy *copy)
{
    if (!copy_runs(node, copy))
        return false;
    return !sim->hangs_guards || copy->stays || node_clock(sim, node) < node->guard.deadline_us;
}

void check_guest(struct sim *sim, int guest)
{
    const struct sim_node *running = NULL;
    const struct guest *owned;
    char name[NAME_SIZE];

    if (sim->is_over)
        return;
    for (unsigned i = 0; i < sim->n; i++) {
        const struct sim_node *node = &sim->nodes[i];
        const struct sim_copy *copy = &node->guard.copies[guest];

        if (copy->state == 0 || !reaches(sim, node, copy))
            continue;
        if (running != NULL)
            sim_unsafe(sim, "g%d runs twice: on n%u (epoch %llu) and n%u (epoch %llu)", guest,
                       running->at + 1, (unsigned long long)running->guard.copies[guest].epoch,
                       i + 1, (unsigned long long)copy->epoch);
        running = node;
    }
    if (running == NULL)
        return;
    sim_guest_name(guest, name);
    owned = state_guest(oracle_state(sim), name);
    if (owned == NULL || owned->placement.node != running->id ||
        owned->placement.epoch != running->guard.copies[guest].epoch)
        sim_unsafe(sim,
                   "g%d runs on n%u (epoch %llu), but the log has it on node %llu (epoch %llu)",
                   guest, running->at + 1, (unsigned long long)running->guard.copies[guest].epoch,
                   owned != NULL ? (unsigned long long)owned->placement.node : 0,
                   owned != NULL ? (unsigned long long)owned->placement.epoch : 0);
}

void check_guests(struct sim *sim)
{
    for (int i = 0; i < SIM_GUESTS && !sim->has_failed; i++)
        check_guest(sim, i);
}

void check_destroy(struct sim *sim, const struct sim_node *node, int guest)
{
    char name[NAME_SIZE];
    const struct guest *owned;

    sim_guest_name(guest, name);
    owned = state_guest(oracle_state(sim), name);
    if (owned != NULL && owned->placement.node == node->id &&
        owned->placement.epoch == node->guard.copies[guest].epoch)
        sim_unsafe(sim, "n%u destroys g%d of epoch %llu, which is its own", node->at + 1, guest,
                   (unsigned long long)owned->placement.epoch);
}

/* ---- majorities */

/* Within the window something could pass both ways. */
static bool could_talk(const struct sim *sim, unsigned a, unsigned b, uint64_t since)
{
    return a == b || (net_last_open(sim, a, b) >= since && net_last_open(sim, b, a) >= since);
}

static bool could_lead(const struct sim *sim, unsigned leader, const uint8_t roles[SIM_MAX_NODES],
                       uint64_t since)
{
    unsigned n_voters = 0, n = 0;

    for (unsigned i = 0; i < sim->n; i++) {
        if (roles[i] != ROLE_VOTER)
            continue;
        n_voters++;
        n += could_talk(sim, leader, i, since);
    }
    return n > n_voters / 2;
}

void check_start(struct sim *sim, struct sim_node *node, int guest)
{
    const struct node *known = state_node(oracle_state(sim), node->id);
    uint32_t lease_ms = known != NULL ? known->ceiling_ms : DEFAULT_LEASE_MS; /* at most */
    uint64_t window = (lease_ms + DEFAULT_AUTHORITY_MS) * 1030ull + 5 * MS;
    uint64_t since = sim->now > window ? sim->now - window : 0;

    for (unsigned i = 0; i < sim->n; i++) {
        const struct raft *raft = &sim->nodes[i].raft;
        uint8_t agreed[SIM_MAX_NODES];

        raft_configuration_at(raft, raft->commit, agreed);
        if (could_talk(sim, node->at, i, since) &&
            (could_lead(sim, i, agreed, since) || could_lead(sim, i, raft->roles, since)))
            return;
    }
    sim_fail(sim, "n%u starts g%d although it reached no majority for %llu ms", node->at + 1, guest,
             (unsigned long long)window / 1000);
}

/* ---- the end */

static const char *say(struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static const char *say(struct sim *sim, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(sim->words, sizeof(sim->words), format, args);
    va_end(args);
    return sim->words;
}

static const struct sim_node *leader_of(const struct sim *sim)
{
    for (unsigned i = 0; i < sim->n; i++) {
        const struct sim_node *node = &sim->nodes[i];

        if (node->actors[ACTOR_CORE].up && core_has_authority(node->core, node_clock(sim, node)))
            return node;
    }
    return NULL;
}

static const char *check_node(struct sim *sim, const struct sim_node *node,
                              const struct state *state)
{
    const struct node *known = state_node(state, node->id);

    if (!node->actors[ACTOR_CORE].up || !node->actors[ACTOR_GUARD].up)
        return say(sim, "n%u is down", node->at + 1);
    if (core_state(node->core)->index != state->index)
        return say(sim, "n%u has applied %llu of %llu", node->at + 1,
                   (unsigned long long)core_state(node->core)->index,
                   (unsigned long long)state->index);
    if (known == NULL || known->state != NODE_UP)
        return say(sim, "n%u is %s", node->at + 1,
                   known != NULL ? node_state_name(known->state) : "?");
    if (memcmp(known->boot_nonce, node->guard.boot_nonce, NONCE_SIZE) != 0)
        return say(sim, "the boot of n%u is not known", node->at + 1);
    if (node->guard.holder.lapsed || node->guard.is_frozen)
        return say(sim, "n%u has no lease", node->at + 1);
    if (sim->max_voters < sim->n ? known->role == ROLE_SPARE : known->role != ROLE_VOTER)
        return say(sim, "n%u is %s", node->at + 1, raft_role_name(known->role));
    return NULL;
}

/* It is placed nowhere: rightly, when it fits nowhere. */
static bool fits_somewhere(const struct sim *sim, const struct state *state,
                           const struct guest *guest)
{
    struct node_telemetry telemetry[SIM_MAX_NODES];
    struct place_request request = {
        .spec = &guest->spec, .n_telemetry = sim->n, .telemetry = telemetry};
    struct place_result result = {0};
    bool fits;

    for (unsigned i = 0; i < sim->n; i++)
        telemetry[i] = (struct node_telemetry){.node = sim->nodes[i].id, .present = true};
    if (place_guest(state, &request, &result, NULL) < 0)
        return false;
    fits = result.placement.node != 0;
    place_result_deinit(&result);
    return fits;
}

static const char *check_placed(struct sim *sim, const struct state *state, int number)
{
    char name[NAME_SIZE];
    const struct guest *guest;

    sim_guest_name(number, name);
    guest = state_guest(state, name);
    for (unsigned i = 0; i < sim->n; i++) {
        const struct sim_node *node = &sim->nodes[i];
        const struct sim_copy *copy = &node->guard.copies[number];
        bool is_here = guest != NULL && guest->placement.node == node->id;

        if (!is_here && copy->state != 0)
            return say(sim, "n%u still has g%d: %s", i + 1, number,
                       guard_guest_state_name(copy->state));
        if (!is_here)
            continue;
        if (guest->desired == DESIRED_STOPPED)
            return say(sim, "g%d is not stopped on n%u", number, i + 1);
        if (copy->state != GUEST_RUNNING || copy->epoch != guest->placement.epoch ||
            !copy_runs(node, copy))
            return say(sim, "g%d does not run on n%u: %s", number, i + 1,
                       copy->state != 0 ? guard_guest_state_name(copy->state) : "not there");
    }
    if (guest != NULL && guest->placement.node == 0 && guest->desired == DESIRED_RUNNING &&
        fits_somewhere(sim, state, guest))
        return say(sim, "g%d fits but has no place", number);
    return NULL;
}

static const char *check_states(struct sim *sim, uint64_t digest)
{
    for (unsigned i = 0; i < sim->n; i++) {
        if (state_digest(core_state(sim->nodes[i].core)) != digest)
            return say(sim, "n%u has another state", i + 1);
    }
    return NULL;
}

static const char *unfinished(struct sim *sim, const struct state *state, const struct migration *m)
{
    const struct node *from = state_node(state, m->from), *to = state_node(state, m->to);
    const struct guest *guest = state_guest(state, m->guest);
    const struct image *image = guest != NULL ? state_image(state, guest->spec.image) : NULL;

    return say(sim, "the migration %llu of %s from %s to %s, %s, is not over; %s %s there",
               (unsigned long long)m->id, m->guest, from != NULL ? from->name : "-",
               to != NULL ? to->name : "-",
               m->phase == MIGRATION_COMMITTED ? "committed" : "reserved",
               image != NULL ? image->name : "no image",
               image != NULL && image_is_held(image, m->to) ? "is" : "is not");
}

const char *check_settled(struct sim *sim)
{
    const struct state *state = oracle_state(sim);
    const struct sim_node *leader = leader_of(sim);
    const char *what = NULL;

    if (leader == NULL)
        return "nobody leads with authority";
    for (unsigned i = 0; what == NULL && i < sim->n; i++)
        what = check_node(sim, &sim->nodes[i], state);
    if (what == NULL && state->n_migrations > 0)
        what = unfinished(sim, state, &state->migrations[0]);
    for (int i = 0; what == NULL && i < SIM_GUESTS; i++)
        what = check_placed(sim, state, i);
    if (what == NULL && sim->now >= sim->end_us) /* the whole state costs its bytes: once */
        what = check_states(sim, state_digest(state));
    return what;
}
