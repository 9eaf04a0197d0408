/* cell_init_image: the bytes of the program cell-init, linked into whoever starts cells: there is
 * no file that could be missing, or be another version's. */
#ifndef SKEIN_AGENT_GUEST_CELL_INIT_IMAGE_H
#define SKEIN_AGENT_GUEST_CELL_INIT_IMAGE_H

#include <stdint.h>

extern const uint8_t cell_init_image[], cell_init_image_end[];

#endif
