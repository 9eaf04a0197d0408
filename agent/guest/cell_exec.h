/* cell_exec: runs a command inside a running cell (the `exec` of guest_cell_ops). */
#ifndef SKEIN_AGENT_GUEST_CELL_EXEC_H
#define SKEIN_AGENT_GUEST_CELL_EXEC_H

#include "agent/guest/guest.h"

/* See guest_kind_ops.exec. A command that cannot be run says so on its stderr and ends with 127
 * (not there) or 126, as a shell has it. */
int cell_exec(pid_t pid, const struct guest_run *run, char *const argv[], const int stdio[3],
              int *ret_status, struct err *err);

#endif
