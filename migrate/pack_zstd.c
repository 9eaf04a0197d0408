#include "migrate/pack_zstd.h"

#include <errno.h>
#include <zstd.h>

enum { LEVEL = 1 };

size_t pack(void *ret, size_t room, const void *data, size_t size)
{
    size_t worth = size - size / 8;
    size_t packed = ZSTD_compress(ret, room < worth ? room : worth, data, size, LEVEL);

    return ZSTD_isError(packed) ? 0 : packed;
}

int unpack(void *ret, size_t size, const void *packed, size_t packed_size)
{
    size_t n = ZSTD_decompress(ret, size, packed, packed_size);

    return ZSTD_isError(n) || n != size ? -EBADMSG : 0;
}
