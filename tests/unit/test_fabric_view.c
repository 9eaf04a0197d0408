/* fabric_view: views of hand-made and random states, and what packets of theirs can reach.
 *
 * The random part builds a cluster with two slices of the same addresses, gives every node the
 * rules of its view, and sends packets through all of them: seed 1, or the one on the command line.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/prng.h"
#include "tests/unit/fake_switch.h"

enum { N_NODES = 4, N_GUESTS = 12, N_WORLDS = 60, MAX_HOPS = 4 };
enum { NOBODY = 0x0a6300fe };

static uint64_t seed = 1;

struct world {
    struct state state;
    struct node nodes[N_NODES];
    struct slice slices[2];
    struct guest guests[N_GUESTS];
    struct migration migrations[N_GUESTS];
};

static void world_init(struct world *w)
{
    static const char *const names[] = {"blue", "red"};

    *w = (struct world){.state = {.index = 99, .n_nodes = N_NODES, .n_slices = 2}};
    w->state.nodes = w->nodes;
    w->state.slices = w->slices;
    w->state.guests = w->guests;
    w->state.migrations = w->migrations;
    for (uint32_t i = 0; i < N_NODES; i++) {
        w->nodes[i].id = 1 + 4 * i;
        w->nodes[i].state = NODE_UP;
        w->nodes[i].facts.vtep = 0x0a630001 + i;
    }
    for (uint32_t i = 0; i < 2; i++) {
        strcpy(w->slices[i].name, names[i]);
        w->slices[i].vni = 7 + i;
        w->slices[i].subnet = (struct subnet){0x0a070000, 24};
    }
}

/* Guests come in the order of their names. */
static struct guest *add_guest(struct world *w, const char *name, unsigned slice, uint32_t ip,
                               uint64_t node)
{
    struct guest *g = &w->guests[w->state.n_guests];

    snprintf(g->spec.name, sizeof(g->spec.name), "%s", name);
    strcpy(g->spec.slice, w->slices[slice].name);
    g->ip = ip;
    g->placement.node = node;
    g->slot = (uint16_t)(w->state.n_guests++);
    return g;
}

static void migrate(struct world *w, struct guest *g, uint64_t to, enum migration_phase phase)
{
    struct migration *m = &w->migrations[w->state.n_migrations++];

    m->id = w->state.n_migrations;
    m->from = g->placement.node;
    m->to = to;
    m->phase = phase;
    g->migration = m->id;
    if (phase == MIGRATION_COMMITTED)
        g->placement.node = to;
}

static const struct endpoint *find(const struct fabric_view *view, const char *guest)
{
    for (uint32_t i = 0; i < view->n_endpoints; i++)
        if (strcmp(view->endpoints[i].guest, guest) == 0)
            return &view->endpoints[i];
    return NULL;
}

static void view_shows_what_the_node_carries(void **state)
{
    struct world w;
    struct fabric_view view;
    const struct endpoint *a, *b;

    (void)state;
    world_init(&w);
    add_guest(&w, "a", 1, 0x0a070002, 1);
    add_guest(&w, "b", 1, 0x0a070003, 5);
    add_guest(&w, "c", 0, 0x0a070002, 5);
    assert_int_equal(fabric_view_of(&w.state, 1, &view), 0);
    assert_true(view.index == 99);
    assert_int_equal(view.n_peers, N_NODES - 1);
    assert_int_equal(view.n_endpoints, 2); /* no port in blue: nothing of blue */
    a = find(&view, "a");
    b = find(&view, "b");
    assert_true(a->is_owner);
    assert_int_equal(a->port, FABRIC_FIRST_PORT);
    assert_int_equal(a->vtep, view.vtep);
    assert_false(b->is_owner);
    assert_int_equal(b->port, 0);
    assert_int_equal(b->vtep, 0x0a630002);
    fabric_view_deinit(&view);
    assert_int_equal(fabric_view_of(&w.state, 2, &view), -ENOENT);
}

/* {phase, node of the view} -> what the endpoint is there */
static void migration_is_seen_from_each_side(void **state)
{
    static const struct {
        enum migration_phase phase;
        uint64_t node;
        bool has_port, is_owner, has_left;
        uint32_t vtep, other;
    } cases[] = {
        {MIGRATION_RESERVED, 1, true, true, false, 0x0a630001, 0x0a630002},
        {MIGRATION_RESERVED, 5, true, false, false, 0x0a630001, 0x0a630002},
        {MIGRATION_RESERVED, 9, false, false, false, 0x0a630001, 0x0a630002},
        {MIGRATION_COMMITTED, 1, true, false, true, 0x0a630002, 0x0a630001},
        {MIGRATION_COMMITTED, 5, true, true, false, 0x0a630002, 0x0a630001},
        {MIGRATION_COMMITTED, 9, false, false, false, 0x0a630002, 0x0a630001},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w;
        struct fabric_view view;
        const struct endpoint *e;

        world_init(&w);
        migrate(&w, add_guest(&w, "a", 1, 0x0a070002, 1), 5, cases[i].phase);
        add_guest(&w, "b", 1, 0x0a070003, 9);
        assert_int_equal(fabric_view_of(&w.state, cases[i].node, &view), 0);
        e = find(&view, "a");
        assert_int_equal(e->port, cases[i].has_port ? FABRIC_FIRST_PORT : 0);
        assert_int_equal(e->is_owner, cases[i].is_owner);
        assert_int_equal(e->has_left, cases[i].has_left);
        assert_int_equal(e->vtep, cases[i].vtep);
        assert_int_equal(e->other_vtep, cases[i].other);
        fabric_view_deinit(&view);
    }
}

static void lost_source_of_a_migration_counts_no_more(void **state)
{
    struct world w;
    struct fabric_view view;

    (void)state;
    world_init(&w);
    migrate(&w, add_guest(&w, "a", 1, 0x0a070002, 1), 5, MIGRATION_COMMITTED);
    w.nodes[0].state = NODE_LOST;
    assert_int_equal(fabric_view_of(&w.state, 5, &view), 0);
    assert_int_equal(find(&view, "a")->other_vtep, 0);
    fabric_view_deinit(&view);
}

/* ---- packets through the rules of a whole cluster */

struct fabric {
    const struct world *world; /* the newest state */
    struct fake_switch switches[N_NODES];
};

static struct fake_switch switch_of(const struct world *w, unsigned node)
{
    struct fabric_view view;
    struct fake_switch s;
    uint8_t buffer[4096];
    struct writer out;
    struct reader in;

    assert_int_equal(fabric_view_of(&w->state, w->nodes[node].id, &view), 0);
    writer_init(&out, buffer, sizeof(buffer));
    fabric_view_encode(&view, &out);
    fabric_view_deinit(&view);
    reader_init(&in, buffer, out.size);
    assert_int_equal(fabric_view_decode(&in, &view), 0); /* what the guard would see */
    fake_switch_init(&s, &view);
    fabric_view_deinit(&view);
    return s;
}

static void fabric_deinit(struct fabric *f)
{
    for (unsigned i = 0; i < N_NODES; i++)
        fake_switch_deinit(&f->switches[i]);
}

struct delivery {
    unsigned n, n_answers;
    unsigned node, port; /* of the last one */
};

static void pass(const struct fabric *f, unsigned node, const struct fake_packet *p, unsigned hops,
                 struct delivery *ret)
{
    struct fake_output out[FAKE_MAX_OUTPUTS];
    unsigned n = fake_pass(&f->switches[node], p, out);

    assert_true(hops < MAX_HOPS); /* no packet runs in circles */
    for (unsigned i = 0; i < n; i++) {
        struct fake_packet next = out[i].packet;

        if (out[i].port != FABRIC_TUNNEL_PORT) {
            ret->n++;
            ret->n_answers += out[i].is_arp_answer;
            ret->node = node;
            ret->port = out[i].port;
            continue;
        }
        next.in_port = FABRIC_TUNNEL_PORT;
        next.tun_src = f->world->nodes[node].facts.vtep;
        for (unsigned k = 0; k < N_NODES; k++)
            if (f->world->nodes[k].facts.vtep == next.tun_dst)
                pass(f, k, &next, hops + 1, ret);
    }
}

static unsigned node_number(const struct world *w, uint64_t id)
{
    for (unsigned i = 0; i < N_NODES; i++)
        if (w->nodes[i].id == id)
            return i;
    return N_NODES;
}

static struct fake_packet packet_between(const struct world *w, const struct guest *from,
                                         const struct guest *to)
{
    struct fake_packet p = {
        .in_port = fabric_port_of(&w->state, from), .src_ip = from->ip, .dst_ip = to->ip};

    mac_of_guest(from->ip, p.src_mac);
    mac_of_guest(to->ip, p.dst_mac);
    memcpy(p.arp_sha, p.src_mac, MAC_SIZE);
    return p;
}

static struct delivery sent(const struct fabric *f, const struct guest *from,
                            const struct fake_packet *p)
{
    struct delivery d = {0};

    pass(f, node_number(f->world, from->placement.node), p, 0, &d);
    return d;
}

static bool same_slice(const struct guest *a, const struct guest *b)
{
    return strcmp(a->spec.slice, b->spec.slice) == 0;
}

static void check_pair(const struct fabric *f, const struct guest *from, const struct guest *to,
                       struct prng *random)
{
    const struct world *w = f->world;
    /* the address is that of `to` in its own slice; another guest may have it in the sender's */
    const struct guest *heir = to;
    struct fake_packet p = packet_between(w, from, to);
    struct delivery d;

    for (size_t i = 0; i < w->state.n_guests; i++)
        if (same_slice(&w->guests[i], from) && w->guests[i].ip == to->ip)
            heir = &w->guests[i];
    d = sent(f, from, &p);
    if (same_slice(from, heir) && heir->placement.node != 0 && heir != from) {
        assert_int_equal(d.n, 1);
        assert_int_equal(d.node, node_number(w, heir->placement.node));
        assert_int_equal(d.port, fabric_port_of(&w->state, heir));
    } else {
        assert_int_equal(d.n, 0);
    }

    p.is_arp = true;
    p.arp_op = 1;
    d = sent(f, from, &p);
    assert_int_equal(d.n, same_slice(from, heir) && heir != from);
    assert_int_equal(d.n_answers, d.n);
    p.arp_op = 2; /* an answer that nobody asked for */
    assert_int_equal(sent(f, from, &p).n, 0);

    /* spoofed: MAC, address, either of them in ARP */
    p.arp_op = 1;
    p.arp_sha[5] ^= 0x80;
    assert_int_equal(sent(f, from, &p).n, 0);
    p = packet_between(w, from, to);
    p.src_mac[prng_below(random, MAC_SIZE)] ^= 1;
    assert_int_equal(sent(f, from, &p).n, 0);
    p = packet_between(w, from, to);
    p.src_ip ^= 1u << prng_below(random, 32);
    assert_int_equal(sent(f, from, &p).n, 0);
    p.is_arp = true;
    p.arp_op = 1;
    assert_int_equal(sent(f, from, &p).n, 0);
}

static const struct migration *migration_of(const struct world *w, const struct guest *g)
{
    return g->migration == 0 ? NULL : state_migration(&w->state, g->migration);
}

/* Whether `vtep` is one end of the guest's way: its owner, or the other live end of a migration. */
static bool speaks_for(const struct world *w, uint32_t vtep, const struct guest *g)
{
    const struct migration *m = migration_of(w, g);
    const struct node *owner = state_node(&w->state, g->placement.node);
    const struct node *from = m == NULL ? NULL : state_node(&w->state, m->from);
    const struct node *to = m == NULL ? NULL : state_node(&w->state, m->to);

    return (owner != NULL && owner->facts.vtep == vtep) ||
           (from != NULL && from->state == NODE_UP && from->facts.vtep == vtep) ||
           (to != NULL && to->state == NODE_UP && to->facts.vtep == vtep);
}

/* A VXLAN packet from `vtep` that claims to be from one guest to another. */
static void check_forgery(const struct fabric *f, const struct guest *from, const struct guest *to,
                          uint32_t vtep)
{
    const struct world *w = f->world;
    const struct node *at = state_node(&w->state, to->placement.node);
    struct fake_packet p = packet_between(w, from, to);
    struct delivery d = {0};
    bool is_straggler;

    if (at == NULL || at->facts.vtep == vtep || !same_slice(from, to) || from == to)
        return;
    p.in_port = FABRIC_TUNNEL_PORT;
    p.tun_id = state_slice(&w->state, to->spec.slice)->vni;
    p.tun_src = vtep;
    is_straggler = migration_of(w, to) != NULL && speaks_for(w, vtep, to);
    pass(f, node_number(w, at->id), &p, 0, &d);
    assert_int_equal(d.n, speaks_for(w, vtep, from) || is_straggler);
    p.tun_id = 9; /* a slice that there is not */
    d.n = 0;
    pass(f, node_number(w, at->id), &p, 0, &d);
    assert_int_equal(d.n, 0);
    p.tun_id = state_slice(&w->state, to->spec.slice)->vni;
    p.is_arp = true;
    p.arp_op = 1;
    pass(f, node_number(w, at->id), &p, 0, &d);
    assert_int_equal(d.n, 0);
}

static void world_randomise(struct world *w, struct prng *random)
{
    world_init(w);
    for (unsigned i = 0; i < N_GUESTS; i++) {
        char name[8];
        struct guest *g;
        uint64_t node = prng_below(random, 8) == 0 ? 0 : w->nodes[prng_below(random, N_NODES)].id;
        uint64_t to = w->nodes[prng_below(random, N_NODES)].id;

        snprintf(name, sizeof(name), "g%02u", i);
        g = add_guest(w, name, i % 2, 0x0a070002 + i / 2 + (i % 2 == 1 && i > 8), node);
        if (node != 0 && to != node && prng_below(random, 3) == 0)
            migrate(w, g, to,
                    prng_below(random, 2) == 0 ? MIGRATION_RESERVED : MIGRATION_COMMITTED);
    }
    if (prng_below(random, 3) == 0)
        w->nodes[prng_below(random, N_NODES)].state = NODE_LOST;
}

static void packets_reach_owners_and_nobody_else(void **state)
{
    struct prng random = {seed};

    (void)state;
    for (unsigned i = 0; i < N_WORLDS; i++) {
        struct world w;
        struct fabric f = {.world = &w};

        world_randomise(&w, &random);
        for (unsigned n = 0; n < N_NODES; n++)
            f.switches[n] = switch_of(&w, n);
        for (unsigned a = 0; a < N_GUESTS; a++)
            for (unsigned b = 0; b < N_GUESTS; b++) {
                if (w.guests[a].placement.node != 0)
                    check_pair(&f, &w.guests[a], &w.guests[b], &random);
                for (unsigned n = 0; n < N_NODES; n++)
                    check_forgery(&f, &w.guests[a], &w.guests[b], w.nodes[n].facts.vtep);
                check_forgery(&f, &w.guests[a], &w.guests[b], NOBODY);
            }
        fabric_deinit(&f);
    }
}

/* ---- a migration that the nodes learn of at different times */

enum phase { BEFORE, RESERVED, COMMITTED, AFTER, N_PHASES };

/* "a" moves from node 0 to node 1; "b" on node 2 sends to it; node 3 has nothing of it. */
static struct fake_switch switch_in_phase(unsigned node, enum phase phase)
{
    struct world w;
    struct guest *a;

    world_init(&w);
    a = add_guest(&w, "a", 1, 0x0a070002, w.nodes[0].id);
    add_guest(&w, "b", 1, 0x0a070003, w.nodes[2].id);
    if (phase == RESERVED || phase == COMMITTED)
        migrate(&w, a, w.nodes[1].id, phase == RESERVED ? MIGRATION_RESERVED : MIGRATION_COMMITTED);
    if (phase == AFTER)
        a->placement.node = w.nodes[1].id;
    return switch_of(&w, node);
}

/* Every mixture of views that the order of the migration allows: a commit comes only after the
 * target has stood prepared, the clean-up only after the target's switch has the commit. */
static void stale_views_neither_loop_nor_lose_the_guest(void **state)
{
    struct world newest;
    struct fabric f = {.world = &newest};

    (void)state;
    world_init(&newest);
    for (unsigned mix = 0; mix < N_PHASES * N_PHASES * N_PHASES; mix++) {
        enum phase source = mix % N_PHASES, target = mix / N_PHASES % N_PHASES,
                   third = mix / N_PHASES / N_PHASES;
        enum phase last = source > third ? source : third;
        struct fake_packet p = {
            .in_port = FABRIC_FIRST_PORT + 1, .src_ip = 0x0a070003, .dst_ip = 0x0a070002};
        struct delivery d = {0};

        if ((last >= COMMITTED && target < RESERVED) || (last == AFTER && target < COMMITTED))
            continue;
        mac_of_guest(p.src_ip, p.src_mac);
        mac_of_guest(p.dst_ip, p.dst_mac);
        f.switches[0] = switch_in_phase(0, source);
        f.switches[1] = switch_in_phase(1, target);
        f.switches[2] = switch_in_phase(2, third);
        f.switches[3] = switch_in_phase(3, BEFORE);
        pass(&f, 2, &p, 0, &d);
        assert_true(d.n <= 1);
        if (third >= COMMITTED || (source == COMMITTED && target < AFTER)) {
            assert_int_equal(d.n, 1); /* straight, or sent on by the old node */
            assert_int_equal(d.node, 1);
        } else if (source < COMMITTED) {
            assert_int_equal(d.n, 1); /* the old node still has it */
            assert_int_equal(d.node, 0);
        } /* else: whoever knows nothing when the migration is cleaned up loses packets until he
             does */
        fabric_deinit(&f);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(view_shows_what_the_node_carries),
        cmocka_unit_test(migration_is_seen_from_each_side),
        cmocka_unit_test(lost_source_of_a_migration_counts_no_more),
        cmocka_unit_test(packets_reach_owners_and_nobody_else),
        cmocka_unit_test(stale_views_neither_loop_nor_lose_the_guest),
    };

    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
