/* pack_zstd: makes pieces of a moving guest smaller, where that is worth it. */
#ifndef SKEIN_MIGRATE_PACK_ZSTD_H
#define SKEIN_MIGRATE_PACK_ZSTD_H

#include <stddef.h>

/* Writes `size` bytes packed into ret[room]; their size, or 0: less than an eighth is gained. */
size_t pack(void *ret, size_t room, const void *data, size_t size);
/* The other way round. -EBADMSG: it is not exactly `size` bytes, packed. */
int unpack(void *ret, size_t size, const void *packed, size_t packed_size);

#endif
