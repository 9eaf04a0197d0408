/* dirty_criu: how fast processes write to their memory, on any kernel: pages spread over it are
 * read twice, and those that changed are counted. What is written again with the same content, or
 * by a page that was read neither time, is not seen: it is an estimate from below.
 */
#ifndef SKEIN_MIGRATE_DIRTY_CRIU_H
#define SKEIN_MIGRATE_DIRTY_CRIU_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* In bytes a second, counting whole pages; 0 when nothing could be read. Takes DIRTY_WINDOW_MS. */
uint64_t dirty_rate(const pid_t *pids, size_t n);

/* What of its memory the kernel marked as written since its marks were cleared (soft-dirty), in
 * whole pages; 0 where the kernel does not mark. */
uint64_t dirty_marked(pid_t pid);

enum { DIRTY_WINDOW_MS = 250, DIRTY_MAX_PIDS = 64 };

#endif
