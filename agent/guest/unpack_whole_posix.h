/* unpack_whole: images that are not unpacked: a squashfs is mounted, a disk is kept as a file.
 *
 * Both become files of root's first: the store's own are skeind's to write, and neither the
 * kernel's squashfs nor a machine may see bytes change that were checked.
 */
#ifndef SKEIN_AGENT_GUEST_UNPACK_WHOLE_POSIX_H
#define SKEIN_AGENT_GUEST_UNPACK_WHOLE_POSIX_H

#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

/* The name of a disk's file in its image's root. */
#define UNPACK_DISK_NAME "disk"

/* Makes IMAGE_ROOT/disk from fd's bytes, whole or not at all; nothing to do when it is there. */
int unpack_disk(int fd, const uint8_t digest[DIGEST_SIZE], const char *image_root, struct err *err);

/* Mounts the squashfs in fd at image_root, read only, by way of a loop device; nothing to do when
 * it is mounted. After a reboot the copy is mounted again. */
int unpack_squashfs(int fd, const uint8_t digest[DIGEST_SIZE], const char *image_root,
                    struct err *err);

/* Undoes either, also one half done; the directory itself may be left. */
int unpack_whole_remove(const char *image_root, struct err *err);

#endif
