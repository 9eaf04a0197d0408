/* standstill: how long a guest may stand still for a checkpoint, whatever becomes of who takes it.
 *
 * From before it is frozen until it runs again a process beside the job watches the clock. At the
 * moment that was named, or when the job has ended without a word, it wakes the criu that dumps the
 * guest should somebody have stopped it, waits for its end, and thaws the guest: nothing is left
 * frozen, nor in the hands of a criu that was killed half way with its code in the guest. That
 * criu does end then is its own doing (gate_criu.c), a step after that moment.
 */
#ifndef SKEIN_MIGRATE_STANDSTILL_CRIU_H
#define SKEIN_MIGRATE_STANDSTILL_CRIU_H

#include "migrate/increment_criu.h"
#include "migrate/run_criu.h"

struct standstill {
    char path[SNAPSHOT_PATH_SIZE]; /* of the presence of both, criu and the watcher */
    int watched;                   /* to the watcher; -1: there is none */
    pid_t watcher;
};

/* Waits for those of an earlier job that was ended; -ETIMEDOUT. The guest's snapshot directory is
 * there. `run` is given what it has to keep: ->presence, for standstill_watch to close. */
int standstill_prepare(struct standstill *s, const struct mover_guest *guest, struct criu_run *run,
                       struct err *err);

/* criu has been started, and waits at its gate. */
int standstill_watch(struct standstill *s, const struct mover_guest *guest, struct criu_run *run,
                     struct err *err);

/* Right before it is frozen. CLOCK_BOOTTIME. */
void standstill_begins(const struct standstill *s, uint64_t until_us);

/* criu has ended, and the guest was thawed. When the watcher thawed it, by CLOCK_BOOTTIME: no
 * sooner than that where it had no reason to; 0: nobody watched. */
uint64_t standstill_end(struct standstill *s);

/* Waits until nobody is left of a checkpoint whose job was ended. -ETIMEDOUT. */
int standstill_await(const struct mover_guest *guest, struct err *err);

#endif
