/* boot: which boot this is, and which run of the guard within it (shell).
 *
 * The boot nonce is made once a boot and lies in RUN_DIR/boot_nonce. A node with a new nonce says
 * "nothing of an earlier boot lives here", and the cluster starts its guests elsewhere at once: so
 * a new nonce is made only after every guest group of before is killed and empty, and every guest's
 * domain destroyed.
 */
#ifndef SKEIN_AGENT_GUARD_BOOT_POSIX_H
#define SKEIN_AGENT_GUARD_BOOT_POSIX_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/guard/cgroup.h"
#include "agent/guard/domains_xen.h"
#include "base/limits.h"

struct boot {
    uint8_t nonce[NONCE_SIZE];
    uint32_t run;
    bool is_new; /* the nonce was made now: records of before mean nothing */
};

int boot_begin(const char *run_dir, struct cgroups *cgroups, struct domains *domains,
               struct boot *ret, struct err *err);

#endif
