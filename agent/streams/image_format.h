/* image_format: what kind of image bytes are, by their beginning (pure).
 *
 * The name of a file says nothing; skeind and the guard both look here, so that they never differ.
 */
#ifndef SKEIN_AGENT_STREAMS_IMAGE_FORMAT_H
#define SKEIN_AGENT_STREAMS_IMAGE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "consensus/types.h"

enum { IMAGE_HEAD_SIZE = 1024 }; /* so many bytes of the beginning are looked at */

/* The format of an image of `total` bytes that begins with these (IMAGE_HEAD_SIZE of them, or all
 * that there are). 0 with *ret_format set; -EBADMSG with words that name what the bytes are
 * instead, as far as they can be told, or what is wrong with the header of a squashfs or a qcow2:
 * one that would make QEMU open other files (a backing file, an external data file) is refused. */
int image_format_of(const uint8_t *head, size_t size, uint64_t total, enum image_format *ret_format,
                    struct err *err);

#endif
