/* run_criu: runs the criu program, and tells why it failed in one line. */
#ifndef SKEIN_MIGRATE_RUN_CRIU_H
#define SKEIN_MIGRATE_RUN_CRIU_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* What criu opens first of its images. */
#define CRIU_FIRST_IMAGE "inventory.img"

enum { CRIU_MAX_ARGUMENTS = 56, CRIU_TERMINAL = 7 };

struct criu_run {
    const char *what;      /* "dump", "restore": for errors */
    const char *directory; /* of image files; the log (what.log) is written there too */
    int inherited;         /* becomes descriptor 3 of criu; -1: none */
    const char *gate; /* it stops before it opens the first path that begins so (gate_criu.c), says
                       * so on descriptor 4, and waits for a byte on 6, and with it perhaps the
                       * moment until which a dump may go on. NULL: it does not */
    int says_ready;   /* becomes descriptor 4 (--status-fd 4); 0 or -1: none */
    int presence;     /* becomes descriptor 5, kept to its end (presence_posix.h); 0: none */
    int go;       /* becomes descriptor 6; when its other end is closed while criu waits there, it
                   * takes back what it has done, and ends. 0: none */
    bool is_held; /* a restore says on descriptor 4 that all of the guest is there but runs none of
                   * its own code yet, and waits for a line on 6 */
    int terminal; /* becomes descriptor CRIU_TERMINAL; 0 or -1: none */
    const char *arguments[CRIU_MAX_ARGUMENTS]; /* after the action; NULL-terminated */
    pid_t pid;                                 /* run_criu's own */
    bool has_ended;
    int status; /* as of waitpid, once it has ended */
};

/* There is room for it: CRIU_MAX_ARGUMENTS. */
void criu_add_argument(struct criu_run *run, const char *argument);

/* Starts it; every start is followed by criu_finish, which waits. criu is not killed when the
 * caller dies: half way through a dump it has to take its code out of the guest again. */
int criu_start(struct criu_run *run, struct err *err);

/* Likewise one with a gate, and the other ends of its descriptors 4 and 6, which the caller closes,
 * also of one that could not be started: where they are left alone there is none. */
int criu_start_at_gate(struct criu_run *run, int *ret_ready, int *ret_go, struct err *err);

/* Has it written to its --status-fd? `ready` is the reading end. Never blocks. */
bool criu_is_ready(int ready);

/* Has it ended? Never blocks. */
bool criu_has_ended(struct criu_run *run);

int criu_finish(struct criu_run *run, struct err *err);

/* criu notes what this kernel can do in /run/criu.kdat, when it first runs after a boot; that takes
 * about as long as a whole small restore. True: it is not there yet, so `run` was made the command
 * that makes it (criu check, which also says what is missing), to be started while nobody waits. */
bool criu_needs_warming(struct criu_run *run, const char *directory);

/* Start and finish. */
int criu_run(struct criu_run *run, struct err *err);

#endif
