/* console_criu: the terminal of a moving guest that has one: a pseudo-terminal of the node, mounted
 * at the guest's /dev/console, whose other end a process outside of the guest holds. To CRIU it is
 * external; at the target another one stands in its place, with the settings of the first.
 */
#ifndef SKEIN_MIGRATE_CONSOLE_CRIU_H
#define SKEIN_MIGRATE_CONSOLE_CRIU_H

#include "migrate/mover_criu.h"
#include "migrate/run_criu.h"
#include "migrate/terminal.h"

/* What criu's arguments point into. */
struct console_words {
    char terminal[TERMINAL_WORDS_SIZE + 16], mount[128];
};

/* Makes what such a guest's mounts lie on in a /dev that stands at `dev`: empty files, one for the
 * terminal, one for /dev/ptmx, which is a mount of its own devpts, as liblxc has it. */
int console_make_points(const char *dev, struct err *err);

/* From here on nothing is done for a guest that has none. To a dump that writes to paths->images:
 */
int console_name_to_dump(const struct mover_guest *guest, const struct mover_paths *paths,
                         struct console_words *words, struct criu_run *run, struct err *err);
/* Of one that stands still, whose keeper does so too: what it said and nobody has read yet goes
 * into its log, which travels. What cannot be had stays behind. */
void console_save_rest(const struct mover_guest *guest);
/* Likewise of one that goes on here, into `log`, a copy of its log; its keeper still reads it. */
void console_copy_rest(const struct mover_guest *guest, int log);
/* To a restore; run->terminal is the caller's to close then. */
int console_name_to_restore(const struct mover_guest *guest, const struct mover_paths *paths,
                            struct console_words *words, struct criu_run *run, struct err *err);

#endif
