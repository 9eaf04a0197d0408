/* increment: when a checkpoint may carry only what was written since the one before, as a pure
 * decision, and what has to be remembered for it.
 *
 * A chain is a whole checkpoint and the increments behind it, as the buddy holds them: in one
 * stream, in which each of them is a round (stream.h). It is bounded: its increments together never
 * grow beyond the whole, nor in number beyond INCREMENT_MAX; then the next checkpoint is whole.
 */
#ifndef SKEIN_MIGRATE_INCREMENT_H
#define SKEIN_MIGRATE_INCREMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    INCREMENT_MAX = 16,         /* behind one whole; below STREAM_MAX_ROUNDS */
    INCREMENT_MAX_FILES = 1024, /* of memory in one chain, out of STREAM_MAX_FILES */
    INCREMENT_CHAIN_SIZE = 48,  /* encoded, at most */
};

/* The newest checkpoint of a guest, and the chain that it ends. */
struct increment_chain {
    uint64_t taken_us;    /* CLOCK_BOOTTIME when the guest stood still for it: its name; 0 = none */
    uint32_t pid;         /* of the guest's init then */
    uint32_t n;           /* increments; 0 = it is the whole one */
    uint32_t n_files;     /* of memory, together */
    uint64_t whole_bytes; /* of memory in the whole … */
    uint64_t increment_bytes; /* … and in the increments, together */
};

/* May the next one be an increment? `since_us`: the checkpoint that the buddy is known to hold; 0 =
 * none. `written_bytes`: of memory, since then, as far as can be told while the guest runs. */
bool increment_may_be(const struct increment_chain *chain, uint64_t since_us, uint32_t pid,
                      uint64_t written_bytes);

/* The chain with one more; `is_increment` false: that is whole, and begins a new one. */
void increment_add(struct increment_chain *chain, bool is_increment,
                   const struct increment_chain *one);

void increment_chain_encode(const struct increment_chain *chain, struct writer *w);
/* -EBADMSG for anything that is no such chain, or one that could not have come about. */
int increment_chain_decode(const void *data, size_t size, struct increment_chain *ret);

/* Of image files: those that hold memory and say which. */
bool increment_is_memory(const char *file);
/* It holds pages, and nothing of which they are. */
bool increment_is_pages(const char *file);

#endif
