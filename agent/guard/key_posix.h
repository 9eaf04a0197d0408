/* key: what tells skeind from every other process of its user (shell).
 *
 * A file of root's in RUN_DIR, made once a boot by whoever of skein-guard and skeind starts first.
 * skeind reads it while it is still root and says it in the hello of both its connections; the
 * guard serves nobody who cannot. A process that changed its user cannot be read by others of that
 * user (ptrace(2): it is not dumpable), so that the key stays where it is.
 */
#ifndef SKEIN_AGENT_GUARD_KEY_POSIX_H
#define SKEIN_AGENT_GUARD_KEY_POSIX_H

#include "agent/guard/proto.h"
#include "base/err.h"

/* Reads the board's key, or makes it. Returns the open file, the caller's to close; negative
 * errno. */
int guard_key_open(const char *run_dir, uint8_t ret[GUARD_KEY_SIZE], struct err *err);
/* One skeind a board: held while the file is open. -EBUSY when another one holds it. */
int guard_key_lock(int fd, struct err *err);

#endif
