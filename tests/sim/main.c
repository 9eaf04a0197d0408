/* sim: runs seeds of simulated clusters and prints TAP; see sim.h for what is simulated.
 *
 *   sim [--seeds N] [--first S] [--jobs N]   N seeds from S on; 3 and 5 nodes in turns
 *   sim --seed S [--verbose]                 one seed, with its transcript as it happens
 *   sim --table [--first S]                  source, target, leader struck at each step of a move
 *   sim --hunt [--bug NUMBER] [--seeds N]    every planted bug must be found within N seeds
 *
 *   --nodes 3|5      of that many nodes only
 *   --drift-ppm N    clocks that run that much too fast or too slow, at most
 *
 * A failing seed prints the end of its transcript and the command that repeats it.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/run.h"

enum { DEFAULT_SEEDS = 500 };

/* Half of the time went into the sanitizer's memory of what was freed and by whom: less of it is
 * kept here than in the tests of single rooms. ASAN_OPTIONS overrides it. */
const char *__asan_default_options(void) __attribute__((visibility("default"), used));
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=1:thread_local_quarantine_size_kb=256:malloc_context_size=3:"
           "detect_stack_use_after_return=0:max_malloc_fill_size=0";
}

static int usage(void)
{
    fprintf(stderr, "usage: sim [--seeds N] [--first S] [--jobs N] [--nodes 3|5] [--drift-ppm N]\n"
                    "       sim --seed S [--verbose] [--nodes 3|5] [--drift-ppm N]\n"
                    "       sim --table [--first S]\n"
                    "       sim --hunt [--bug NUMBER] [--seeds N]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 'n'},
        {"first", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},
        {"nodes", required_argument, NULL, 'k'},
        {"jobs", required_argument, NULL, 'j'},
        {"drift-ppm", required_argument, NULL, 'd'},
        {"hunt", no_argument, NULL, 'h'},
        {"bug", required_argument, NULL, 'b'},
        {"verbose", no_argument, NULL, 'v'},
        {"table", no_argument, NULL, 't'},
        {0},
    };
    struct run run = {.first = 1, .n_seeds = DEFAULT_SEEDS, .n_jobs = 1};
    bool is_single = false, hunts = false, is_table = false;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'n')
            run.n_seeds = strtoull(optarg, NULL, 10);
        else if (c == 'f' || c == 's')
            run.first = strtoull(optarg, NULL, 10);
        else if (c == 'k')
            run.n_nodes = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'j')
            run.n_jobs = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'd')
            run.options.drift_ppm = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'h')
            hunts = run.options.ends_with_calm = true;
        else if (c == 't')
            is_table = true;
        else if (c == 'v')
            run.verbose = true;
        else if (c == 'b')
            run.bug = (unsigned)strtoul(optarg, NULL, 10);
        else if (c != 's')
            return usage();
        is_single = is_single || c == 's';
    }
    if (optind != argc || (run.n_nodes != 0 && run.n_nodes != 3 && run.n_nodes != 5) ||
        run.n_jobs == 0 || run.n_jobs > 64)
        return usage();
    signal(SIGABRT, run_on_abort);
    if (is_table)
        return script_table(run.first);
    if (hunts)
        return hunt_all(&run);
    return is_single ? run_single(&run) : run_many(&run);
}
