/* vm_loop: a file as a block device, for a machine whose disks the kernel serves (shell: loop). */
#ifndef SKEIN_AGENT_GUEST_VM_LOOP_LINUX_H
#define SKEIN_AGENT_GUEST_VM_LOOP_LINUX_H

#include <stdbool.h>

#include "base/err.h"

enum { VM_LOOP_PATH_SIZE = 32 };

/* The device's path. It goes when nobody holds it any more: ret_fd (the caller's) holds it. */
int vm_loop_attach(const char *file, bool is_fixed, char ret[VM_LOOP_PATH_SIZE], int *ret_fd,
                   struct err *err);

#endif
