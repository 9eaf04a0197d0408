/* sim: runs seeds of simulated clusters and prints TAP; see sim.h for what is simulated.
 *
 *   sim [--seeds N] [--first S] [--nodes 3|5]   N seeds from S on; 3 and 5 nodes in turns
 *   sim --seed S [--verbose] [--nodes 3|5]      one seed, with its transcript as it happens
 *
 * A failing seed prints the end of its transcript and the command that repeats it.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim.h"

enum { DEFAULT_SEEDS = 200, BATCH = 20, COUNTED_FROM = 100 };

struct run {
    uint64_t first, n_seeds;
    unsigned n_nodes; /* 0 = in turns */
    bool is_single, verbose;
    struct options options;
};

/* Half of the time went into the sanitizer's memory of what was freed and by whom: less of it is
 * kept here than in the tests of single rooms. ASAN_OPTIONS overrides it. */
const char *__asan_default_options(void) __attribute__((visibility("default"), used));
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=1:thread_local_quarantine_size_kb=256:malloc_context_size=3:"
           "detect_stack_use_after_return=0:max_malloc_fill_size=0";
}

static uint64_t running_seed;
static unsigned running_nodes;

/* An assertion of the code under test: says which seed it was. */
static void on_abort(int signal)
{
    char line[128];
    int n = snprintf(
        line, sizeof(line), "\n# signal %d in seed %llu: sim --seed %llu --nodes %u --verbose\n",
        signal, (unsigned long long)running_seed, (unsigned long long)running_seed, running_nodes);

    if (write(STDOUT_FILENO, line, (size_t)n) < 0)
        _exit(3);
}

/* One seed; false when something was wrong. `trace` may be NULL. */
static bool run_seed(const struct run *run, uint64_t seed, struct counts *counts,
                     struct trace *trace, char failure[512])
{
    struct sim *sim = calloc(1, sizeof(*sim));
    bool is_good;

    if (sim == NULL)
        abort();
    running_seed = seed;
    running_nodes = run->n_nodes != 0 ? run->n_nodes : (seed % 2 == 0 ? 3 : 5);
    sim->options = &run->options;
    sim->counts = counts;
    sim->trace = trace;
    setup_sim(sim, seed, running_nodes);
    sim_run(sim);
    is_good = !sim->has_failed;
    memcpy(failure, sim->failure, sizeof(sim->failure));
    sim->is_over = true;
    sim->trace = NULL;
    setup_end(sim);
    free(sim);
    return is_good;
}

static void show_failure(const struct run *run, uint64_t seed)
{
    struct trace *trace = trace_new(false);
    struct counts counts = {0};
    char failure[512];

    run_seed(run, seed, &counts, trace, failure);
    trace_print(trace);
    trace_free(trace);
    printf("# seed %llu: %s\n# again: sim --seed %llu --nodes %u --verbose\n",
           (unsigned long long)seed, failure, (unsigned long long)seed, running_nodes);
}

static unsigned run_batch(const struct run *run, uint64_t first, uint64_t n, struct counts *counts)
{
    unsigned n_wrong = 0;

    for (uint64_t seed = first; seed < first + n; seed++) {
        char failure[512];

        if (run_seed(run, seed, counts, NULL, failure))
            continue;
        if (n_wrong++ < 2) /* the others are named */
            show_failure(run, seed);
        else
            printf("# seed %llu: %s\n", (unsigned long long)seed, failure);
    }
    return n_wrong;
}

/* What never happened was not tested. */
static unsigned show_counts(const struct counts *counts, bool must_be_there)
{
    unsigned n_masks = 0, n_missing = 0;

    for (enum count i = 0; i < N_COUNTS; i++) {
        bool is_missing = must_be_there && counts->n[i] == 0;

        printf("# %10llu  %s%s\n", (unsigned long long)counts->n[i], count_words(i),
               is_missing ? "  <- never" : "");
        n_missing += is_missing;
    }
    for (unsigned i = 0; i < 64; i++)
        n_masks += counts->masks >> i & 1;
    printf("# %10u  of the 64 masks of the directed links of three nodes\n", n_masks);
    return n_missing;
}

static int run_single(const struct run *run)
{
    struct trace *trace = run->verbose ? trace_new(true) : NULL;
    struct counts counts = {0};
    char failure[512];
    bool is_good = run_seed(run, run->first, &counts, trace, failure);

    trace_free(trace);
    if (!is_good && !run->verbose)
        show_failure(run, run->first);
    if (run->verbose)
        show_counts(&counts, false);
    printf("%s 1 - seed %llu, %u nodes%s%s\n1..1\n", is_good ? "ok" : "not ok",
           (unsigned long long)run->first, running_nodes, is_good ? "" : ": ", failure);
    return is_good ? 0 : 1;
}

static int run_many(const struct run *run)
{
    struct counts counts = {0};
    unsigned n_points = 0, n_wrong = 0, n_missing;
    clock_t began = clock();

    for (uint64_t done = 0; done < run->n_seeds; done += BATCH) {
        uint64_t n = run->n_seeds - done < BATCH ? run->n_seeds - done : BATCH;
        uint64_t first = run->first + done;
        unsigned wrong = run_batch(run, first, n, &counts);

        printf("%s %u - seeds %llu to %llu\n", wrong == 0 ? "ok" : "not ok", ++n_points,
               (unsigned long long)first, (unsigned long long)(first + n - 1));
        fflush(stdout);
        n_wrong += wrong;
    }
    n_missing = show_counts(&counts, run->n_seeds >= COUNTED_FROM);
    printf("# %llu seeds, %u wrong, %.1f s\n", (unsigned long long)run->n_seeds, n_wrong,
           (double)(clock() - began) / CLOCKS_PER_SEC);
    printf("%s %u - every fault and every behaviour happened\n1..%u\n",
           n_missing == 0 ? "ok" : "not ok", n_points + 1, n_points + 1);
    return n_wrong == 0 && n_missing == 0 ? 0 : 1;
}

static int usage(void)
{
    fprintf(stderr, "usage: sim [--seeds N] [--first S] [--nodes 3|5]\n"
                    "       sim --seed S [--verbose] [--nodes 3|5]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 'n'}, {"first", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},  {"nodes", required_argument, NULL, 'k'},
        {"verbose", no_argument, NULL, 'v'},     {0},
    };
    struct run run = {.first = 1, .n_seeds = DEFAULT_SEEDS};
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'n')
            run.n_seeds = strtoull(optarg, NULL, 10);
        else if (c == 'f' || c == 's')
            run.first = strtoull(optarg, NULL, 10);
        else if (c == 'k')
            run.n_nodes = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'v')
            run.verbose = true;
        else
            return usage();
        run.is_single = run.is_single || c == 's';
    }
    if (optind != argc || (run.n_nodes != 0 && run.n_nodes != 3 && run.n_nodes != 5))
        return usage();
    signal(SIGABRT, on_abort);
    return run.is_single ? run_single(&run) : run_many(&run);
}
