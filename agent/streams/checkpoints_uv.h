/* checkpoints_uv: the checkpoints that this node keeps for guests of others, on its disk, named by
 * the digest of their bytes.
 *
 * Each that comes is read, written and verified by a thread of its own, and so is a buddy's receipt
 * awaited; all else is called on the main thread, and every callback comes there.
 */
#ifndef SKEIN_AGENT_STREAMS_CHECKPOINTS_UV_H
#define SKEIN_AGENT_STREAMS_CHECKPOINTS_UV_H

#include <uv.h>

#include "agent/streams/receipt.h"

struct checkpoints;

enum { CHECKPOINTS_MAX_ERRANDS = 16, CHECKPOINTS_IDLE_S = 15, CHECKPOINTS_RECEIPT_S = 120 };

/* `limit`: bytes that all of them may take together. Clears away what came half. */
int checkpoints_new(uv_loop_t *loop, const char *directory, uint64_t limit,
                    struct checkpoints **ret, struct err *err);
/* Waits for what is under way; its callbacks come before it returns. NULL is fine. */
void checkpoints_free(struct checkpoints *checkpoints);

/* Keeps what `fd` (a blocking socket, taken) brings up to its end, if it is a whole stream of a
 * guest (migrate/stream.h) and there is room, and answers with the receipt. `guest` tells guests
 * apart: the newest of each is not dropped before checkpoints_retain() was told of it. */
void checkpoints_receive(struct checkpoints *checkpoints, uint64_t guest, int fd);

typedef void (*checkpoint_receipt_cb)(void *context, int status, const struct receipt *receipt);
/* Source: all is written to `fd` (taken): waits for what the buddy says. Negative status: nothing
 * came. */
void checkpoints_await(struct checkpoints *checkpoints, int fd, checkpoint_receipt_cb cb,
                       void *context);

/* A read-only descriptor, the caller's; -ENOENT. */
int checkpoints_read(const struct checkpoints *checkpoints, const uint8_t digest[DIGEST_SIZE]);

/* Drops those that `is_wanted` does not know, but the newest of a guest whose checkpoint came and
 * was not wanted yet. */
void checkpoints_retain(struct checkpoints *checkpoints,
                        bool (*is_wanted)(void *context, const uint8_t digest[DIGEST_SIZE]),
                        void *context);

#endif
