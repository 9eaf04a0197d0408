/* files_image: mends what CRIU gets wrong about a guest's open files, in its image of them,
 * files.img, before a restore (pure).
 *
 * A periodic timerfd that ran out and was not read since has no time left: the image says value 0
 * beside an interval and ticks, and CRIU sets the timer to that value, which disarms it for ever
 * (CRIU issue 3162, open in 4.1.1). One nanosecond instead of none lets it run out at once and go
 * on.
 *
 * The image: two magic numbers (u32), then entries: a size (u32), a protobuf message file_entry
 * (CRIU: images/fdinfo.proto, images/timerfd.proto).
 */
#ifndef SKEIN_MIGRATE_FILES_IMAGE_H
#define SKEIN_MIGRATE_FILES_IMAGE_H

#include <stddef.h>
#include <stdint.h>

/* Mends in place: the image keeps its size. Returns how many timers were mended; -EBADMSG: not an
 * image as described above; it is untouched then. */
int files_image_mend(uint8_t *image, size_t size);

#endif
