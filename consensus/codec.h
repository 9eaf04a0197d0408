/* codec: bytes of the values that commands and snapshots share (pure; inside consensus/ only).
 *
 * Every decoder is bounded and marks the reader failed for what it does not know. A value that owns
 * heap memory is left so that its deinit is right, also after a failure.
 */
#ifndef SKEIN_CONSENSUS_CODEC_H
#define SKEIN_CONSENSUS_CODEC_H

#include "base/bytes.h"
#include "consensus/types.h"

/* One byte, 1…last. */
uint32_t read_enum(struct reader *r, uint32_t last);
void write_enum(struct writer *w, uint32_t v);

void slice_encode(const struct slice *slice, struct writer *w);
void slice_decode(struct reader *r, struct slice *ret);
void image_encode(const struct image *image, struct writer *w);
/* 0, -EBADMSG or -ENOMEM. */
int image_decode(struct reader *r, struct image *ret);
void checkpoint_encode(const struct checkpoint *checkpoint, struct writer *w);
void checkpoint_decode(struct reader *r, struct checkpoint *ret);
void token_encode(const struct token *token, struct writer *w);
void token_decode(struct reader *r, struct token *ret);

#endif
