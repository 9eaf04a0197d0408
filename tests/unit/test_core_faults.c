/* The core under faults at random in a small world with a perfect log: never two running copies,
 * and every guest runs in the end. `test_core_faults SEED` plays one seed. (Real elections, lost
 * log tails and drifting clocks are the simulator's.) */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/prng.h"
#include "tests/support/world.h"

enum { N_NODES = 4, N_GUESTS = 4, N_SEEDS = 20, N_STEPS = 120, SETTLE_MS = 5000 };

static uint64_t first_seed = 1, last_seed = N_SEEDS;
static bool is_verbose;

static const char *guest_name(unsigned i)
{
    static const char *const names[N_GUESTS] = {"a", "b", "c", "d"};

    return names[i];
}

static void check_no_two(struct world *w, uint64_t seed)
{
    for (unsigned g = 0; g < N_GUESTS; g++) {
        if (world_n_running(w, guest_name(g), NULL) > 1) {
            print_error("seed %llu: guest %s runs twice at %llu ms\n%s", (unsigned long long)seed,
                        guest_name(g), (unsigned long long)(w->now / 1000), w->records);
            fail();
        }
    }
}

static void run(struct world *w, uint64_t ms, uint64_t seed)
{
    for (uint64_t i = 0; i < ms; i++) {
        world_run(w, 1);
        check_no_two(w, seed);
    }
}

static bool is_connected(const struct world *w, unsigned i)
{
    unsigned n = 1;

    for (unsigned k = 1; k <= w->n; k++)
        n += k != i && w->nodes[k].up && !w->cut[i][k] && !w->cut[k][i];
    return w->nodes[i].up && n > w->n / 2;
}

/* As Raft would: a leader without a majority steps down, and one with a majority is elected. */
static void elect(struct world *w, struct prng *p, uint64_t seed)
{
    unsigned first = (unsigned)(prng_next(p) % w->n);

    if (w->leader != 0 && is_connected(w, w->leader))
        return;
    world_lead(w, 0);
    run(w, 100 + prng_next(p) % 200, seed);
    for (unsigned k = 0; k < w->n; k++) {
        unsigned i = (first + k) % w->n + 1;

        if (is_connected(w, i)) {
            world_lead(w, i);
            return;
        }
    }
}

static void ask_something(struct world *w, struct prng *p)
{
    const char *guest = guest_name((unsigned)(prng_next(p) % N_GUESTS));
    struct command start = {.type = COMMAND_GUEST_START};

    if (w->leader == 0)
        return;
    switch (prng_next(p) % 6) {
    case 0:
        world_by_name(w, COMMAND_GUEST_STOP, guest);
        break;
    case 1:
        memcpy(start.guest_place.name, guest, strlen(guest) + 1);
        world_ask(w, &start);
        break;
    default:
        world_migrate(w, guest, (unsigned)(prng_next(p) % (w->n + 1)));
    }
}

static void disturb(struct world *w, struct prng *p, uint64_t seed)
{
    unsigned i = (unsigned)(prng_next(p) % w->n) + 1;
    unsigned k = (unsigned)(prng_next(p) % w->n) + 1;

    switch (prng_next(p) % 9) {
    case 0:
        if (w->nodes[i].up)
            world_kill(w, i);
        break;
    case 1:
    case 2:
        if (!w->nodes[i].up)
            world_boot(w, i);
        break;
    case 3:
        world_isolate(w, i, true);
        break;
    case 4:
        world_isolate(w, i, false);
        break;
    case 5:
        if (i != k)
            w->cut[i][k] = !w->cut[i][k];
        break;
    case 6:
        if (w->nodes[i].up)
            world_restart_skeind(w, i);
        if (w->nodes[i].up && i == w->leader)
            world_lead(w, 0);
        break;
    case 7:
        if (w->nodes[i].up)
            world_restart_guard(w, i);
        break;
    default:
        ask_something(w, p);
    }
    elect(w, p, seed);
}

static void heal(struct world *w)
{
    memset(w->cut, 0, sizeof(w->cut));
    for (unsigned i = 1; i <= w->n; i++) {
        if (!w->nodes[i].up)
            world_boot(w, i);
    }
    world_lead(w, 1);
}

static void check_all_run(struct world *w, uint64_t seed)
{
    const struct state *state = world_state(w);

    for (size_t i = 0; i < state->n_guests; i++) {
        const struct guest *guest = &state->guests[i];
        unsigned expected = guest->desired == DESIRED_RUNNING;

        if (world_n_running(w, guest->spec.name, NULL) == expected && guest->migration == 0)
            continue;
        print_error("seed %llu: guest %s, %s, is not as it should be in the end\n%s",
                    (unsigned long long)seed, guest->spec.name,
                    core_guest_state_word(w->nodes[w->leader].core, guest->spec.name), w->records);
        fail();
    }
}

static void play(uint64_t seed)
{
    struct prng p = {seed};
    struct world w;

    world_init(&w, N_NODES);
    run(&w, 500, seed);
    for (unsigned g = 0; g < N_GUESTS; g++) {
        world_create(&w, guest_name(g), RESTART_ALWAYS);
        assert_true(world_answered(&w, 2000));
    }
    for (unsigned i = 0; i < N_STEPS; i++) {
        w.records[0] = '\0';
        disturb(&w, &p, seed);
        run(&w, prng_next(&p) % 400, seed);
        if (is_verbose)
            print_message("%s", w.records);
    }
    w.records[0] = '\0';
    heal(&w);
    run(&w, SETTLE_MS, seed);
    check_all_run(&w, seed);
    world_deinit(&w);
}

static void test_never_two_and_all_in_the_end(void **unused)
{
    (void)unused;
    for (uint64_t seed = first_seed; seed <= last_seed; seed++)
        play(seed);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_two_and_all_in_the_end),
    };

    if (argc > 1)
        first_seed = last_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        last_seed = strtoull(argv[2], NULL, 10);
    is_verbose = argc > 1 && argc <= 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
