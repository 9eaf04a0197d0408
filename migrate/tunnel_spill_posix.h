/* tunnel_spill: of a source's tunnel that comes to nothing, what QEMU still writes of its state
 * goes nowhere, until libvirt has cancelled the migration (shell).
 *
 * With several connections (multifd) QEMU 10.0 may end altogether when it finds one of them broken:
 * so none is, while it still writes.
 */
#ifndef SKEIN_MIGRATE_TUNNEL_SPILL_POSIX_H
#define SKEIN_MIGRATE_TUNNEL_SPILL_POSIX_H

#include "migrate/tunnel_posix.h"

enum { TUNNEL_SPILL_FDS = 1 + TUNNEL_MAX_CHANNELS };

struct tunnel_spill {
    int fds[TUNNEL_SPILL_FDS]; /* the door's listener, then connections; -1 = none */
    const char *door;          /* path, borrowed */
};

/* Takes the door MEMORY and its connections out of `e`, which tunnel_end_deinit ends then. */
void tunnel_spill_begin(struct tunnel_spill *spill, struct tunnel_end *e);
/* A negative descriptor is passed over by poll(). */
void tunnel_spill_poll(const struct tunnel_spill *spill, struct pollfd ret[TUNNEL_SPILL_FDS]);
void tunnel_spill_serve(struct tunnel_spill *spill, const struct pollfd fds[TUNNEL_SPILL_FDS]);
void tunnel_spill_end(struct tunnel_spill *spill);

#endif
