/* run: seeds, one after another or by several processes, and what is said about them. See sim.h. */
#ifndef SKEIN_TESTS_SIM_RUN_H
#define SKEIN_TESTS_SIM_RUN_H

#include "tests/sim/sim.h"

struct run {
    uint64_t first, n_seeds;
    unsigned n_nodes; /* 0 = 3 and 5 in turns */
    unsigned n_jobs;  /* processes */
    bool verbose;
    unsigned bug; /* to hunt, by its number in base/planted.h; 0 = all */
    struct options options;
};

struct seed_end {
    bool is_good;
    bool is_unsafe; /* the promise itself was broken */
    char failure[512];
};

/* `trace` may be NULL. */
void run_seed(const struct run *run, uint64_t seed, struct counts *counts, struct trace *trace,
              struct seed_end *ret);
unsigned run_nodes(const struct run *run, uint64_t seed);
/* The seed again, with the end of its transcript. */
void run_show(const struct run *run, uint64_t seed);
void run_on_abort(int signal); /* says which seed it was */
/* Exit codes. */
int run_single(const struct run *run);
int run_many(const struct run *run);

/* ---- hunt.c */
/* The first seed that breaks the promise; 0 = none did. */
uint64_t hunt(const struct run *run, struct seed_end *ret);
/* Every planted bug must be found, and clocks beyond the margin. */
int hunt_all(const struct run *run);

#endif
