/* hunt: shows that the simulator sees a broken promise: it must find every bug of base/planted.h,
 * and clocks that drift far beyond the margin. Built with SKEIN_PLANTED; see sim.h.
 *
 * Two are hunted only when they are asked for (--bug):
 *
 *   OLD_ACKS    harms nobody, given the other rules. An older leader's grant ends within A +
 *               ceiling of the next election, whenever its ack arrives, and the next leader calls
 *               nobody lost before that. Its list can lift only what lapsed before the stamp was
 *               issued, for a time in which no copy was taken from the node but on the node's own
 *               word (stopped, handed over), and then there is no such copy to thaw. skeind itself
 *               acts on no answer of an older term than its log's. The rule stays: it is the one
 *               that needs no proof.
 *   STALE_LIFT  breaks no lease: it destroys a copy that was started since the answer was made,
 *               which costs a guest its life and never makes two. One seed in about 500 shows it.
 */
#include <stdio.h>

#include "base/planted.h"
#include "tests/sim/run.h"

uint64_t hunt(const struct run *run, struct seed_end *ret)
{
    for (uint64_t seed = run->first; seed < run->first + run->n_seeds; seed++) {
        struct counts counts = {0};

        run_seed(run, seed, &counts, NULL, ret);
        if (ret->is_unsafe)
            return seed;
    }
    return 0;
}

#ifdef SKEIN_PLANTED

enum { BEYOND_PPM = 8 * CLOCK_DRIFT_PERMILLE * 1000 };

enum planted_bug planted_bug;

static const char *words_of(enum planted_bug bug)
{
    static const char *const words[N_PLANTED] = {
#define X(name, text) [PLANTED_##name] = text,
        PLANTED_BUGS(X)
#undef X
    };

    return words[bug];
}

static bool is_on_demand(enum planted_bug bug)
{
    return bug == PLANTED_OLD_ACKS || bug == PLANTED_STALE_LIFT;
}

/* One point: found, and by the bug alone. */
static bool show(const struct run *run, unsigned point, const char *words)
{
    struct run without = {.n_seeds = 1, .n_jobs = 1, .n_nodes = run->n_nodes};
    struct seed_end verdict, healthy = {.is_good = true};
    struct counts counts = {0};
    uint64_t seed = hunt(run, &verdict);
    enum planted_bug bug = planted_bug;

    planted_bug = PLANTED_NONE;
    if (seed != 0)
        run_seed(&without, seed, &counts, NULL, &healthy);
    planted_bug = bug;
    if (seed != 0)
        printf("# seed %llu: %s\n", (unsigned long long)seed, verdict.failure);
    if (!healthy.is_good)
        printf("# without it: %s\n", healthy.failure);
    printf("%s %u - %s: %s by seed %llu of %llu\n", seed != 0 && healthy.is_good ? "ok" : "not ok",
           point, words, seed != 0 ? "found" : "not found", (unsigned long long)seed,
           (unsigned long long)run->n_seeds);
    fflush(stdout);
    return seed != 0 && healthy.is_good;
}

int hunt_all(const struct run *run)
{
    struct run drifting = *run;
    unsigned point = 0;
    bool is_good = true;

    for (enum planted_bug bug = PLANTED_NONE + 1; bug < N_PLANTED; bug++) {
        if (run->bug != PLANTED_NONE ? run->bug != bug : is_on_demand(bug))
            continue;
        planted_bug = bug;
        is_good = show(run, ++point, words_of(bug)) && is_good;
    }
    planted_bug = PLANTED_NONE;
    if (run->bug != PLANTED_NONE) {
        printf("1..%u\n", point);
        return is_good ? 0 : 1;
    }
    drifting.options.drift_ppm = BEYOND_PPM;
    is_good =
        show(&drifting, ++point, "clocks that drift eight times as far as allowed") && is_good;
    printf("1..%u\n", point);
    return is_good ? 0 : 1;
}

#else

int hunt_all(const struct run *run)
{
    (void)run;
    printf("1..0 # SKIP built without planted bugs\n");
    return 2;
}

#endif
