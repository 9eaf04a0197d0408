/* oci_user: the "User" of an OCI config -> numbers, by the image's own passwd and group (pure). */
#ifndef SKEIN_AGENT_CLI_OCI_USER_H
#define SKEIN_AGENT_CLI_OCI_USER_H

#include <stdint.h>

#include "base/err.h"

/* "", "user", "uid", "user:group", "uid:gid", … (OCI image specification, config.md). Without a
 * group it is the user's own, 0 for a number that passwd does not list. `passwd` and `group` are
 * the files' contents or NULL. -EBADMSG with words for a name that they do not list. */
int oci_user_find(const char *user, const char *passwd, const char *group, uint32_t *ret_uid,
                  uint32_t *ret_gid, struct err *err);

#endif
