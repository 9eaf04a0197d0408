#include "agent/streams/upload.h"

#include <string.h>

enum upload_verdict upload_chunk(const struct upload_facts *facts, uint64_t offset, size_t size)
{
    if (facts->is_busy)
        return UPLOAD_NOT_NOW;
    if (facts->is_committed || size == 0)
        return UPLOAD_REFUSED;
    if (offset == facts->size)
        return UPLOAD_DO;
    return size == facts->last_chunk && offset == facts->size - size ? UPLOAD_AGAIN
                                                                     : UPLOAD_REFUSED;
}

enum upload_verdict upload_commit(const struct upload_facts *facts,
                                  const uint8_t digest[DIGEST_SIZE])
{
    if (facts->is_busy)
        return UPLOAD_NOT_NOW;
    if (!facts->is_committed)
        return UPLOAD_DO;
    return memcmp(facts->digest, digest, DIGEST_SIZE) == 0 ? UPLOAD_AGAIN : UPLOAD_REFUSED;
}
