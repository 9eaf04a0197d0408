#include "tests/sim/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 20,      /* seeds a point */
    MAX_POINTS = 50, /* more seeds make larger batches */
    COUNTED_FROM = 100,
    MASKS_FROM = 500, /* so many seeds meet every mask under every leader */
    N_MASKS = 3 * 64,
};

/* What one process says of one batch; a write of it is whole. */
struct result {
    uint64_t first, n;
    unsigned n_wrong;
    struct counts counts;
};

static uint64_t running_seed;
static unsigned running_nodes;

void run_on_abort(int signal)
{
    char line[128];
    int n = snprintf(
        line, sizeof(line), "\n# signal %d in seed %llu: sim --seed %llu --nodes %u --verbose\n",
        signal, (unsigned long long)running_seed, (unsigned long long)running_seed, running_nodes);

    if (write(STDOUT_FILENO, line, (size_t)n) < 0)
        _exit(3);
}

unsigned run_nodes(const struct run *run, uint64_t seed)
{
    return run->n_nodes != 0 ? run->n_nodes : (seed % 2 == 0 ? 3 : 5);
}

void run_seed(const struct run *run, uint64_t seed, struct counts *counts, struct trace *trace,
              struct seed_end *ret)
{
    struct sim *sim = calloc(1, sizeof(*sim));

    if (sim == NULL)
        abort();
    running_seed = seed;
    running_nodes = run_nodes(run, seed);
    sim->options = &run->options;
    sim->counts = counts;
    sim->trace = trace;
    setup_sim(sim, seed, running_nodes);
    sim_run(sim);
    counts->us += sim->now;
    ret->is_good = !sim->has_failed;
    ret->is_unsafe = sim->is_unsafe;
    memcpy(ret->failure, sim->failure, sizeof(ret->failure));
    sim->is_over = true;
    sim->trace = NULL;
    setup_end(sim);
    free(sim);
}

void run_show(const struct run *run, uint64_t seed)
{
    struct trace *trace = trace_new(false);
    struct counts counts = {0};
    struct seed_end verdict;

    run_seed(run, seed, &counts, trace, &verdict);
    trace_print(trace);
    trace_free(trace);
    printf("# seed %llu: %s\n# again: sim --seed %llu --nodes %u --verbose\n",
           (unsigned long long)seed, verdict.failure, (unsigned long long)seed,
           run_nodes(run, seed));
}

/* ---- counts */

static void add(struct counts *sum, const struct counts *counts)
{
    for (enum count i = 0; i < N_COUNTS; i++)
        sum->n[i] += counts->n[i];
    for (int i = 0; i < 3; i++)
        sum->masks[i] |= counts->masks[i];
    sum->us += counts->us;
}

static unsigned n_masks(const struct counts *counts)
{
    unsigned n = 0;

    for (int leader = 0; leader < 3; leader++)
        n += (unsigned)__builtin_popcountll(counts->masks[leader]);
    return n;
}

/* What never happened was not tested. */
static unsigned show_counts(const struct counts *counts, bool must_be_there)
{
    unsigned n_missing = 0;

    for (enum count i = 0; i < N_COUNTS; i++) {
        bool is_missing = must_be_there && counts->n[i] == 0;

        printf("# %10llu  %s%s\n", (unsigned long long)counts->n[i], count_words(i),
               is_missing ? "  <- never" : "");
        n_missing += is_missing;
    }
    return n_missing;
}

/* ---- one seed */

int run_single(const struct run *run)
{
    struct trace *trace = run->verbose ? trace_new(true) : NULL;
    struct counts counts = {0};
    struct seed_end verdict;

    run_seed(run, run->first, &counts, trace, &verdict);
    trace_free(trace);
    if (!verdict.is_good && !run->verbose)
        run_show(run, run->first);
    if (run->verbose)
        show_counts(&counts, false);
    printf("%s 1 - seed %llu, %u nodes%s%s\n1..1\n", verdict.is_good ? "ok" : "not ok",
           (unsigned long long)run->first, run_nodes(run, run->first), verdict.is_good ? "" : ": ",
           verdict.failure);
    return verdict.is_good ? 0 : 1;
}

/* ---- many */

static void run_batch(const struct run *run, uint64_t first, uint64_t n, struct result *ret)
{
    *ret = (struct result){.first = first, .n = n};
    for (uint64_t seed = first; seed < first + n; seed++) {
        struct seed_end verdict;

        run_seed(run, seed, &ret->counts, NULL, &verdict);
        if (verdict.is_good)
            continue;
        if (ret->n_wrong++ < 2) /* the others are named */
            run_show(run, seed);
        else
            printf("# seed %llu: %s\n", (unsigned long long)seed, verdict.failure);
        fflush(stdout);
    }
}

static uint64_t batch_of(const struct run *run)
{
    return run->n_seeds > BATCH * MAX_POINTS ? run->n_seeds / MAX_POINTS : (uint64_t)BATCH;
}

/* Every so many-th batch, into the pipe. */
static void work(const struct run *run, unsigned job, int to)
{
    uint64_t size = batch_of(run);

    for (uint64_t done = job * size; done < run->n_seeds; done += run->n_jobs * size) {
        struct result result;

        run_batch(run, run->first + done, run->n_seeds - done < size ? run->n_seeds - done : size,
                  &result);
        if (write(to, &result, sizeof(result)) != (ssize_t)sizeof(result))
            _exit(1);
    }
}

/* The processes' results can be read from the descriptor; it ends when the last of them has. */
static int start_jobs(const struct run *run)
{
    int ends[2];

    if (pipe(ends) < 0)
        abort();
    fflush(stdout);
    for (unsigned job = 0; job < run->n_jobs; job++) {
        pid_t pid = fork();

        if (pid < 0)
            abort();
        if (pid == 0) {
            close(ends[0]);
            work(run, job, ends[1]);
            fflush(stdout);
            _exit(0);
        }
    }
    close(ends[1]);
    return ends[0];
}

static bool jobs_ended_well(void)
{
    bool is_good = true;
    int status;

    while (wait(&status) > 0)
        is_good = is_good && status == 0;
    return is_good;
}

static double seconds_since(const struct timespec *began)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

static void show_pace(const struct counts *counts, uint64_t n_done, uint64_t n_seeds,
                      unsigned n_wrong, const struct timespec *began)
{
    double hours = (double)counts->us / 3.6e9, took_s = seconds_since(began), load = 0;

    if (getloadavg(&load, 1) < 1)
        load = 0;
    printf(
        "# %llu of %llu seeds, %u wrong: %.1f cluster-hours in %.0f s, %.0f an hour; load %.1f\n",
        (unsigned long long)n_done, (unsigned long long)n_seeds, n_wrong, hours, took_s,
        hours * 3600 / took_s, load);
    fflush(stdout);
}

int run_many(const struct run *run)
{
    struct counts counts = {0};
    struct result result;
    unsigned n_points = 0, n_wrong = 0, n_missing;
    uint64_t n_done = 0;
    struct timespec began;
    bool is_whole, has_masks;
    int from;

    clock_gettime(CLOCK_MONOTONIC, &began);
    from = start_jobs(run);
    while (read(from, &result, sizeof(result)) == (ssize_t)sizeof(result)) {
        printf("%s %u - seeds %llu to %llu\n", result.n_wrong == 0 ? "ok" : "not ok", ++n_points,
               (unsigned long long)result.first, (unsigned long long)(result.first + result.n - 1));
        n_wrong += result.n_wrong;
        n_done += result.n;
        add(&counts, &result.counts);
        if (batch_of(run) > BATCH)
            show_pace(&counts, n_done, run->n_seeds, n_wrong, &began);
    }
    close(from);
    is_whole = jobs_ended_well() && n_done == run->n_seeds;
    n_missing = show_counts(&counts, run->n_seeds >= COUNTED_FROM);
    show_pace(&counts, n_done, run->n_seeds, n_wrong, &began);
    printf("%s %u - every seed was run to its end\n", is_whole ? "ok" : "not ok", ++n_points);
    printf("%s %u - every fault and every behaviour happened\n", n_missing == 0 ? "ok" : "not ok",
           ++n_points);
    has_masks = run->n_seeds < MASKS_FROM || run->n_nodes == 5 || n_masks(&counts) == N_MASKS;
    printf("%s %u - %u of the %d masks of three nodes' directed links, each under each leader\n",
           has_masks ? "ok" : "not ok", ++n_points, n_masks(&counts), N_MASKS);
    printf("1..%u\n", n_points);
    return is_whole && has_masks && n_wrong == 0 && n_missing == 0 ? 0 : 1;
}
