/* kernel: what this node's kernel can do for a guest that moves, tried out. */
#ifndef SKEIN_BASE_KERNEL_LINUX_H
#define SKEIN_BASE_KERNEL_LINUX_H

#include <stdbool.h>

/* It says which pages were written since it was asked to watch (soft-dirty): pre-copy. */
bool kernel_tracks_dirty(void);
/* It lets a page come when it is touched (userfaultfd): post-copy. */
bool kernel_has_userfaultfd(void);

#endif
