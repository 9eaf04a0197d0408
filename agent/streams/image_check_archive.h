/* image_check_archive: is this file an image at all, and of what format? Blocks; for a worker
 * thread. */
#ifndef SKEIN_AGENT_STREAMS_IMAGE_CHECK_ARCHIVE_H
#define SKEIN_AGENT_STREAMS_IMAGE_CHECK_ARCHIVE_H

#include "base/err.h"
#include "consensus/types.h"

enum { IMAGE_MAX_ENTRIES = 1000000 };

/* Reads a tar to its end, of other formats the header. 0 with *ret_format set; -EBADMSG with words
 * when no guest could use it: truncated or broken, no known format, nothing in it, an entry that
 * reaches out of the image's root, a device outside of dev/ (a guest's /dev is its own: devices
 * there are left out when the image is unpacked). The descriptor's position moves. */
int image_check(int fd, enum image_format *ret_format, struct err *err);

#endif
