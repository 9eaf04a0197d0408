/* upload: what a client's word about its upload means, the first time and when it is said again
 * because its answer was lost or said "not now" (pure).
 */
#ifndef SKEIN_AGENT_STREAMS_UPLOAD_H
#define SKEIN_AGENT_STREAMS_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"

struct upload_facts {
    uint64_t size;               /* bytes taken so far */
    size_t last_chunk;           /* of them with the newest chunk */
    bool is_busy;                /* with an earlier word */
    bool is_committed;           /* stored whole, verified */
    uint8_t digest[DIGEST_SIZE]; /* committed: what was stored */
};

enum upload_verdict {
    UPLOAD_DO = 1,
    UPLOAD_AGAIN,   /* it is done already: answer as before */
    UPLOAD_NOT_NOW, /* busy: asking again is harmless */
    UPLOAD_REFUSED,
};

enum upload_verdict upload_chunk(const struct upload_facts *facts, uint64_t offset, size_t size);
enum upload_verdict upload_commit(const struct upload_facts *facts,
                                  const uint8_t digest[DIGEST_SIZE]);

#endif
