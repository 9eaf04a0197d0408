/* model_net: links between nodes, each way on its own: delay, jitter, loss, cuts. Messages may
 * overtake each other, be doubled, and come seconds late after a cut; see sim.h. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static bool is_open(const struct sim *sim, unsigned from, unsigned to)
{
    return !sim->links[from][to].is_cut && sim->nodes[from].actors[ACTOR_CORE].up &&
           sim->nodes[to].actors[ACTOR_CORE].up;
}

static void note(struct sim *sim, unsigned from, unsigned to)
{
    if (is_open(sim, from, to))
        sim->links[from][to].open_until = sim->now;
}

void net_note(struct sim *sim, unsigned node)
{
    for (unsigned i = 0; i < sim->n; i++) {
        note(sim, node, i);
        note(sim, i, node);
    }
}

uint64_t net_last_open(const struct sim *sim, unsigned from, unsigned to)
{
    return is_open(sim, from, to) ? sim->now : sim->links[from][to].open_until;
}

void net_cut(struct sim *sim, unsigned from, unsigned to, bool is_cut)
{
    struct link *link = &sim->links[from][to];

    note(sim, from, to);
    if (is_cut && !link->is_cut)
        link->n_cuts++;
    link->is_cut = is_cut;
}

static uint64_t delay_of(struct sim *sim, const struct link *link)
{
    uint64_t delay = link->delay_us + sim_below(sim, link->jitter_us + 1);

    if (sim_chance(sim, 5))
        delay += sim_between(sim, MS, 20 * MS);
    return delay;
}

static void double_packet(struct sim *sim, const struct link *link, const struct event *event)
{
    struct event copy = *event;

    copy.data = malloc(event->b);
    if (copy.data == NULL)
        abort();
    memcpy(copy.data, event->data, event->b);
    sim_count(sim, COUNT_MESSAGE_DOUBLED);
    sim_push(sim, copy, delay_of(sim, link) + sim_between(sim, 0, 300 * MS));
}

void net_send(struct sim *sim, struct sim_node *from, struct sim_node *to, struct event *event)
{
    const struct link *link = &sim->links[from->at][to->at];

    event->node = (uint8_t)to->at;
    event->from = (uint8_t)from->at;
    event->run = 0; /* whoever lives there when it arrives */
    if (link->loss_permille > 0 && sim_chance(sim, link->loss_permille)) {
        sim_count(sim, COUNT_MESSAGE_LOST);
        event_dispose(event);
        return;
    }
    if (event->kind == EV_PEER && sim_chance(sim, sim->doubled_permille))
        double_packet(sim, link, event);
    sim_push(sim, *event, delay_of(sim, link));
}

bool net_arrives(struct sim *sim, struct event *event)
{
    if (!sim->links[event->from][event->node].is_cut)
        return true;
    if (!sim->is_calm && sim_chance(sim, 200)) { /* kept and sent again by the transport */
        sim_count(sim, COUNT_MESSAGE_LATE);
        sim_push(sim, *event, sim_between(sim, 10 * MS, 2000 * MS));
        event->data = NULL;
    }
    return false;
}
