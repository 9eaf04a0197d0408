/* lazy_criu: memory that follows a guest after it runs at the target (post-copy).
 *
 * Source: `criu dump --lazy-pages` stays, with the guest frozen, and gives pages out. Target: `criu
 * lazy-pages` fetches those that the guest touches, and all others beside. Each speaks over a
 * socket of this node (--ps-socket) to a process of ours that outlives its job and relays to the
 * stream between the nodes (relay_posix.h): so CRIU sees no network, and above all does not see it
 * end. A `criu lazy-pages` that ended early would leave the guest with zeroes in place of its
 * memory: before it may, the guest is killed.
 */
#ifndef SKEIN_MIGRATE_LAZY_CRIU_H
#define SKEIN_MIGRATE_LAZY_CRIU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migrate/mover_criu.h"
#include "migrate/progress_posix.h"
#include "migrate/run_criu.h"

enum {
    LAZY_SILENCE_MS = 30000, /* the source owes pages for so long: they do not come any more */
    LAZY_GOODBYE_MS =
        5000, /* after the source's end of the stream criu has ended within, or has to be */
    LAZY_END_MS = 10000, /* a relay that is asked to end has ended within */
};

/* CRIU hands memory on through pipes of 4 MiB: a node-wide limit may have to be raised for that. */
int lazy_make_room(struct err *err);

/* Source: from here on a process of its own gives out the pages of the dump at the other end of
 * `near`, to `far`, at no more than rate_kbps (0: no limit). Both stay the caller's. */
int lazy_serve(const struct mover_guest *guest, const struct mover_paths *paths, int near, int far,
               uint32_t rate_kbps, const struct progress *progress, struct err *err);

/* Target: a process that will fetch the memory, over what its maker called `far`. */
struct lazy_fetcher {
    int go, told; /* -1: there is none */
};

/* While the images are still on their way: from here on that process is there, with a criu whose
 * own start is over. Ends by itself when its maker does. */
int lazy_stand_by(const struct mover_guest *guest, const struct mover_paths *paths, int far,
                  struct lazy_fetcher *ret, struct err *err);
/* With all images in place: it fetches, is ready for the restore on return, and needs its maker no
 * more. */
int lazy_fetch(struct lazy_fetcher *fetcher, struct err *err);
/* It has ended on return, if it was still to be told to fetch. */
void lazy_cancel(struct lazy_fetcher *fetcher);

/* Target: is there memory to wait for? */
bool lazy_is_awaited(const struct mover_paths *paths);
/* Target: until all of it is there. -EREMOTEIO: it will not come, and nothing of the guest runs any
 * more. */
int lazy_await(const struct mover_paths *paths, struct err *err);

/* Ends both, and waits. */
int lazy_end(const struct mover_paths *paths, struct err *err);

#endif
