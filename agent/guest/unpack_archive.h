/* unpack: an image's bytes -> the root directory that cells have as their lower layer (libarchive;
 * for what is no archive see unpack_whole_posix.h).
 *
 * The bytes come from whoever could add an image: they are read by a child that is locked into the
 * new directory and can load no code.
 */
#ifndef SKEIN_AGENT_GUEST_UNPACK_ARCHIVE_H
#define SKEIN_AGENT_GUEST_UNPACK_ARCHIVE_H

#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

struct unpack_limits {
    uint64_t max_bytes;   /* of all files together */
    uint64_t max_entries; /* files, directories and links */
};

enum { UNPACK_MAX_ENTRIES = 1000000, UNPACK_MAX_GIB = 16 };

/* Makes `image_root` from the image in the regular file `fd`, after its digest is checked: an
 * archive (tar, plain or compressed with gzip or zstd) is unpacked, a squashfs mounted, a disk put
 * there as the file UNPACK_DISK_NAME. It appears whole or not at all; when it is there already
 * there is nothing to do. Devices in the archive are left out (a cell's /dev is its own).
 * -EBADMSG: other bytes than the digest says. -EINVAL: no such archive, or one that reaches outside
 * of its root. -EFBIG: more than the limits. */
int unpack_image(int fd, const uint8_t digest[DIGEST_SIZE], const char *image_root,
                 struct err *err);

/* Removes an unpacked root, also one that a killed unpack left half done. */
int unpack_remove(const char *image_root, struct err *err);

/* The work of the child, for it and for tests: unpacks the archive at fd's beginning into the
 * working directory. Does not lock itself in. */
int unpack_into_here(int fd, const struct unpack_limits *limits, struct err *err);

#endif
