/* neighbours_linux: a guest's neighbours (neighbours.h), kept with its image files and known again
 * (shell). Without them a guest moves as well, and asks: no failure here is one of the move.
 */
#ifndef SKEIN_MIGRATE_NEIGHBOURS_LINUX_H
#define SKEIN_MIGRATE_NEIGHBOURS_LINUX_H

#include <sys/types.h>

/* Writes those of the guest with the process `pid` into a file below `images`. */
void neighbours_keep(pid_t pid, const char *images);

/* In the network namespace of that path, which the caller joins for good: the ones kept below
 * `images` are known there. */
void neighbours_know(const char *netns, const char *images);

#endif
