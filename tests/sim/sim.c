/* sim: the loop, the actors' life, clocks, draws and the transcript; see sim.h. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- draws */

uint32_t sim_below(struct sim *sim, uint32_t n)
{
    return prng_below(&sim->prng, n);
}

uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high)
{
    return low + prng_next(&sim->prng) % (high - low + 1);
}

bool sim_chance(struct sim *sim, uint32_t permille)
{
    return prng_below(&sim->prng, 1000) < permille;
}

void sim_count(struct sim *sim, enum count count)
{
    sim->counts->n[count]++;
}

/* ---- clocks: each runs at its own constant rate */

uint64_t node_clock(const struct sim *sim, const struct sim_node *node)
{
    return node->boot_offset_us +
           (sim->now - node->boot_us) * (uint64_t)(1000000 + node->drift_ppm) / 1000000;
}

uint64_t node_sim_time(const struct sim_node *node, uint64_t clock_us)
{
    uint64_t rate = (uint64_t)(1000000 + node->drift_ppm);
    uint64_t since = clock_us > node->boot_offset_us ? clock_us - node->boot_offset_us : 0;

    return node->boot_us + (since * 1000000 + rate - 1) / rate;
}

/* ---- names */

struct sim_node *sim_node_of(struct sim *sim, uint64_t id)
{
    for (unsigned i = 0; i < sim->n; i++) {
        if (sim->nodes[i].id == id)
            return &sim->nodes[i];
    }
    return NULL;
}

int sim_guest_of(const char *name)
{
    int guest =
        name[0] == 'g' && name[1] >= '0' && name[1] <= '9' && name[2] == '\0' ? name[1] - '0' : -1;

    return guest < SIM_GUESTS ? guest : -1;
}

void sim_guest_name(int guest, char ret[NAME_SIZE])
{
    memset(ret, 0, NAME_SIZE);
    ret[0] = 'g';
    ret[1] = (char)('0' + guest);
}

/* ---- events and actors */

struct event sim_event(enum event_kind kind, const struct sim_node *node, enum actor_kind actor)
{
    struct event event = {.kind = (uint8_t)kind, .actor = (uint8_t)actor};

    if (node != NULL) {
        event.node = (uint8_t)node->at;
        event.run = actor != ACTOR_NONE ? node->actors[actor].run : 0;
    }
    return event;
}

void sim_push(struct sim *sim, struct event event, uint64_t delay)
{
    event.at = sim->now + delay;
    queue_push(&sim->queue, &event);
}

void actor_start(struct actor *actor)
{
    actor->up = true;
    actor->run++;
    actor->stalled_until = 0;
}

void actor_stop(struct actor *actor)
{
    for (size_t i = 0; i < actor->n_held; i++)
        event_dispose(&actor->held[i]);
    actor->n_held = 0;
    actor->up = false;
}

void actor_stall(struct sim *sim, struct sim_node *node, enum actor_kind kind, uint64_t us)
{
    struct actor *actor = &node->actors[kind];
    struct event event = sim_event(EV_RESUME, node, ACTOR_NONE);

    if (!actor->up || sim->now + us <= actor->stalled_until)
        return;
    actor->stalled_until = sim->now + us;
    event.a = kind;
    event.b = actor->run;
    sim_push(sim, event, us);
}

bool actor_is_stalled(const struct sim *sim, const struct sim_node *node, enum actor_kind kind)
{
    return sim->now < node->actors[kind].stalled_until;
}

static void hold(struct actor *actor, struct event *event)
{
    if (actor->n_held == actor->held_capacity) {
        actor->held_capacity = actor->held_capacity == 0 ? 64 : actor->held_capacity * 2;
        actor->held = realloc(actor->held, actor->held_capacity * sizeof(*actor->held));
        if (actor->held == NULL)
            abort();
    }
    actor->held[actor->n_held++] = *event;
    event->data = NULL;
}

static void to_actor(struct sim *sim, struct event *event)
{
    struct sim_node *node = &sim->nodes[event->node];
    struct actor *actor = &node->actors[event->actor];

    if (!actor->up || (event->run != 0 && event->run != actor->run))
        return;
    if (sim->now < actor->stalled_until) {
        hold(actor, event);
        return;
    }
    switch ((enum actor_kind)event->actor) {
    case ACTOR_CORE:
        node_handle(sim, node, event);
        break;
    case ACTOR_RAFT:
        raft_handle(sim, node, event);
        break;
    case ACTOR_GUARD:
        guard_handle(sim, node, event);
        break;
    case ACTOR_NONE:
    case N_ACTORS:
        break;
    }
}

/* All that was held comes at once, in order. */
static void resume(struct sim *sim, const struct event *event)
{
    struct sim_node *node = &sim->nodes[event->node];
    struct actor *actor = &node->actors[event->a];
    struct event *held = actor->held;
    size_t n = actor->n_held;

    if (!actor->up || actor->run != event->b || sim->now < actor->stalled_until)
        return;
    actor->held = NULL;
    actor->n_held = actor->held_capacity = 0;
    sim_trace(sim, node, "%s goes on",
              event->a == ACTOR_GUARD  ? "guard"
              : event->a == ACTOR_CORE ? "skeind"
                                       : "raft");
    if (event->a == ACTOR_GUARD)
        guard_resumed(sim, node);
    for (size_t i = 0; i < n; i++) {
        if (!sim->has_failed)
            to_actor(sim, &held[i]);
        event_dispose(&held[i]);
    }
    free(held);
    if (event->a == ACTOR_CORE && actor->up)
        node_arm_tick(sim, node);
}

static void boot(struct sim *sim, const struct event *event)
{
    struct sim_node *node = &sim->nodes[event->node];

    if (event->a == ACTOR_NONE && !node->is_on)
        node_power_on(sim, node);
    else if (event->a == ACTOR_GUARD && node->is_on && !node->actors[ACTOR_GUARD].up)
        guard_start(sim, node);
    else if (event->a == ACTOR_CORE && node->is_on && !node->actors[ACTOR_CORE].up)
        skeind_start(sim, node);
}

static void look(struct sim *sim)
{
    const char *what = check_settled(sim);

    if (what == NULL && sim->now >= sim->end_us) {
        users_check_end(sim);
        if (sim->options->script != NULL)
            script_check(sim);
        sim->is_over = true;
    } else if (what != NULL && sim->now > sim->calm_us + SIM_SETTLE_LIMIT_US) {
        sim_fail(sim, "not settled %d s after the last fault: %s", SIM_SETTLE_LIMIT_US / 1000000,
                 what);
    } else {
        sim_push(sim, sim_event(EV_LOOK, NULL, ACTOR_NONE), 100 * MS);
    }
}

static void dispatch(struct sim *sim, struct event *event)
{
    if (event->actor != ACTOR_NONE) {
        to_actor(sim, event);
        return;
    }
    switch ((enum event_kind)event->kind) {
    case EV_RESUME:
        resume(sim, event);
        break;
    case EV_BOOT:
        boot(sim, event);
        break;
    case EV_MOVE_DONE:
        move_done(sim, event);
        break;
    case EV_FAULT:
    case EV_HEAL:
    case EV_CALM:
        faults_handle(sim, event);
        break;
    case EV_USER:
    case EV_USER_SEND:
    case EV_USER_LIMIT:
        users_handle(sim, event);
        break;
    case EV_LOOK:
        look(sim);
        break;
    default:
        abort();
    }
}

void sim_run(struct sim *sim)
{
    struct event event;

    while (!sim->has_failed && !sim->is_over && queue_pop(&sim->queue, &event)) {
        sim->now = event.at;
        if (sim->is_calm && sim->options->ends_with_calm)
            sim->is_over = true;
        dispatch(sim, &event);
        event_dispose(&event);
        if (sim->options->script != NULL && !sim->has_failed)
            script_step(sim);
    }
}

/* ---- failure and transcript */

/* Where everybody stood. */
static void trace_nodes(struct sim *sim)
{
    for (unsigned i = 0; i < sim->n; i++) {
        struct sim_node *node = &sim->nodes[i];
        const struct raft *raft = &node->raft;

        sim_trace(
            sim, node, "%s%s%s%s, raft: %s of term %llu, log %llu to %llu, committed %llu",
            node->is_on ? "on" : "off", node->actors[ACTOR_CORE].up ? ", skeind" : "",
            node->actors[ACTOR_GUARD].up ? ", guard" : "", node->guard.is_frozen ? ", frozen" : "",
            raft->state == RAFT_LEADER      ? "leader"
            : raft->state == RAFT_CANDIDATE ? "candidate"
                                            : "follower",
            (unsigned long long)raft->term, (unsigned long long)raft->first,
            (unsigned long long)(raft->first + raft->n - 1), (unsigned long long)raft->commit);
        for (int number = 0; number < SIM_GUESTS; number++) {
            const struct sim_copy *copy = &node->guard.copies[number];

            if (copy->state != 0)
                sim_trace(sim, node, "  g%d: %s, epoch %llu, migration %llu", number,
                          guard_guest_state_name(copy->state), (unsigned long long)copy->epoch,
                          (unsigned long long)copy->migration);
        }
        for (unsigned k = 0; raft->state == RAFT_LEADER && k < sim->n; k++)
            sim_trace(sim, node, "  n%u: match %llu, next %llu", k + 1,
                      (unsigned long long)raft->match[k], (unsigned long long)raft->next[k]);
    }
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list args;

    if (sim->has_failed)
        return;
    sim->has_failed = true;
    va_start(args, format);
    vsnprintf(sim->failure, sizeof(sim->failure), format, args);
    va_end(args);
    sim_trace(sim, NULL, "WRONG: %s", sim->failure);
    if (sim->trace != NULL)
        trace_nodes(sim);
}

enum { TRACE_LINES = 400, TRACE_WIDTH = 200 };

struct trace {
    bool is_live;
    uint64_t n;
    char lines[TRACE_LINES][TRACE_WIDTH];
};

struct trace *trace_new(bool live)
{
    struct trace *trace = calloc(1, sizeof(*trace));

    if (trace == NULL)
        abort();
    trace->is_live = live;
    return trace;
}

void trace_free(struct trace *trace)
{
    free(trace);
}

void sim_trace_line(struct sim *sim, const struct sim_node *node, const char *format, ...)
{
    char *line = sim->trace->lines[sim->trace->n++ % TRACE_LINES];
    char who[8] = "--";
    va_list args;
    int n;

    if (node != NULL)
        snprintf(who, sizeof(who), "n%u", node->at + 1);
    n = snprintf(line, TRACE_WIDTH, "[%7.3f] %s > ", (double)sim->now / 1e6, who);
    va_start(args, format);
    vsnprintf(line + n, (size_t)(TRACE_WIDTH - n), format, args);
    va_end(args);
    if (sim->trace->is_live)
        printf("# %s\n", line);
}

void trace_print(const struct trace *trace)
{
    uint64_t from = trace->n > TRACE_LINES ? trace->n - TRACE_LINES : 0;

    for (uint64_t i = from; !trace->is_live && i < trace->n; i++)
        printf("# %s\n", trace->lines[i % TRACE_LINES]);
}
