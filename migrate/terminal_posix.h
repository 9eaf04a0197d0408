/* terminal_posix: what a terminal's programs said and nobody has read yet (shell). */
#ifndef SKEIN_MIGRATE_TERMINAL_POSIX_H
#define SKEIN_MIGRATE_TERMINAL_POSIX_H

/* Writes that to `copy`, and leaves it to be read all the same. `reading` is the terminal's end
 * where it is read, `saying` the one that it was said at; both stay the caller's. Only while no
 * other process says or reads anything there. What cannot be had is missing in the copy. */
void terminal_peek(int reading, int saying, int copy);

#endif
