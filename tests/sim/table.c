/* table: source, target and leader struck at each step of a migration, one migration alone and two
 * at once; see script.h. */
#include <stdio.h>

#include "tests/sim/run.h"
#include "tests/sim/script.h"

static const char *const steps[] = {"reserved",  "prepared",   "capturing", "received",
                                    "committed", "activating", "running",   "done"};
static const char *const victims[] = {"source", "target", "leader"};
static const char *const deeds[] = {"power off", "reboot", "skeind crash", "guard crash",
                                    "cut off"};
static const char *const roles[] = {"another node", "the source", "the target"};

struct row {
    unsigned n, n_kept, n_wrong;
};

static void run_case(const struct script *wanted, uint64_t seed, struct row *row)
{
    struct script script = *wanted;
    struct run run = {.n_nodes = 3, .options.script = &script};
    struct counts counts = {0};
    struct seed_end verdict;

    run_seed(&run, seed, &counts, NULL, &verdict);
    row->n++;
    row->n_kept += script.was_kept;
    if (verdict.is_good)
        return;
    row->n_wrong++;
    printf("# %s, the %s, %s, led by %s, %s: %s\n", steps[script.step], victims[script.victim],
           deeds[script.deed], roles[script.leader], script.has_two ? "two at once" : "one",
           verdict.failure);
    script = *wanted;
    if (row->n_wrong == 1)
        run_show(&run, seed);
}

static unsigned run_row(struct script *script, uint64_t seed)
{
    struct row row = {0};

    for (int leader = 0; leader < N_SCRIPT_ROLES; leader++) {
        for (int two = 0; two < 2; two++) {
            script->leader = (enum script_role)leader;
            script->has_two = two != 0;
            run_case(script, seed++, &row);
        }
    }
    printf("#   %-10s  %-6s  %-12s  the guest went on in %u of %u\n", steps[script->step],
           victims[script->victim], deeds[script->deed], row.n_kept, row.n);
    return row.n_wrong;
}

int script_table(uint64_t first_seed)
{
    unsigned n_wrong_steps = 0;

    for (int step = 0; step < N_SCRIPT_STEPS; step++) {
        unsigned n_wrong = 0;

        for (int victim = 0; victim < N_SCRIPT_VICTIMS; victim++) {
            for (int deed = 0; deed < N_SCRIPT_DEEDS; deed++) {
                struct script script = {.step = (enum script_step)step,
                                        .victim = (enum script_victim)victim,
                                        .deed = (enum script_deed)deed};

                n_wrong += run_row(&script, first_seed);
            }
        }
        printf("%s %d - source, target and leader struck when it is %s\n",
               n_wrong == 0 ? "ok" : "not ok", step + 1, steps[step]);
        fflush(stdout);
        n_wrong_steps += n_wrong != 0;
    }
    printf("1..%d\n", N_SCRIPT_STEPS);
    return n_wrong_steps == 0 ? 0 : 1;
}
