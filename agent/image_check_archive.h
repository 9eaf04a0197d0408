/* image_check_archive: is this file an image at all? Blocks; for a worker thread. */
#ifndef SKEIN_AGENT_IMAGE_CHECK_ARCHIVE_H
#define SKEIN_AGENT_IMAGE_CHECK_ARCHIVE_H

#include "base/err.h"

enum { IMAGE_MAX_ENTRIES = 1000000 };

/* Reads the whole archive's list. -EBADMSG with words: no tar that can be read to its end, or
 * nothing in it. The descriptor's position moves. */
int image_check(int fd, struct err *err);

#endif
