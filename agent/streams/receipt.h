/* receipt: what a buddy answers to a checkpoint that was sent to it (plain values, codec). */
#ifndef SKEIN_AGENT_STREAMS_RECEIPT_H
#define SKEIN_AGENT_STREAMS_RECEIPT_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"

enum { RECEIPT_MAX_SIZE = 64 + ERR_TEXT_SIZE };

struct receipt {
    bool is_kept;
    uint8_t digest[DIGEST_SIZE]; /* kept: of all its bytes */
    uint64_t size;               /* kept */
    bool may_continue;           /* kept: there is room for an increment of it, and then a whole */
    char text[ERR_TEXT_SIZE];    /* not kept: why */
};

void receipt_encode(const struct receipt *receipt, struct writer *w);
/* -EBADMSG for anything that is no receipt. */
int receipt_decode(const void *data, size_t size, struct receipt *ret);

#endif
