/* script: one migration, or two at once, one fault at one step of the first: the table of what may
 * die when. See sim.h; nothing else goes wrong in such a run.
 */
#ifndef SKEIN_TESTS_SIM_SCRIPT_H
#define SKEIN_TESTS_SIM_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

struct sim;

enum script_step {
    AT_RESERVED = 0, /* the cluster has agreed on it */
    AT_PREPARED,     /* the target is ready */
    AT_CAPTURING,    /* the source is frozen and sends */
    AT_RECEIVED,     /* the target has all and verified it; the source has just been told */
    AT_COMMITTED,    /* the cluster has agreed that the target owns it */
    AT_ACTIVATING,   /* the target restores it */
    AT_RUNNING,      /* it runs there; the cluster has not yet heard so */
    AT_DONE,         /* it has; the source still has its frozen copy */
    N_SCRIPT_STEPS
};

enum script_victim { VICTIM_SOURCE = 0, VICTIM_TARGET, VICTIM_LEADER, N_SCRIPT_VICTIMS };

enum script_deed {
    DEED_POWER = 0, /* off, for longer than its lease */
    DEED_REBOOT,    /* off and on again at once */
    DEED_SKEIND,    /* its skeind crashes */
    DEED_GUARD,     /* its guard crashes */
    DEED_CUT,       /* nobody hears it, nor it anybody, for longer than its lease */
    N_SCRIPT_DEEDS
};

/* Who leads the cluster. */
enum script_role { LEADER_IS_NEITHER = 0, LEADER_IS_SOURCE, LEADER_IS_TARGET, N_SCRIPT_ROLES };

struct script {
    enum script_step step;
    enum script_victim victim;
    enum script_deed deed;
    enum script_role leader;
    bool has_two; /* a second migration at the same time, towards where the first comes from */

    /* as it went */
    unsigned phase;
    unsigned source, target;
    uint64_t transferred_us; /* when leadership was last handed on */
    uint64_t migration;      /* 0: not reserved yet */
    uint64_t life;           /* of the guest before */
    bool has_struck, was_kept;
};

enum { SCRIPT_CALM_US = 12000000, SCRIPT_END_US = 13000000 };

/* After every event: is it time? */
void script_step(struct sim *sim);
/* At the end: was the guest's state kept where it must be? */
void script_check(struct sim *sim);

/* ---- table.c: every case once; an exit code */
int script_table(uint64_t first_seed);

#endif
