#include "migrate/increment.h"

#include <errno.h>
#include <string.h>

#include "migrate/stream.h"

enum { CHAIN_VERSION = 1 };

_Static_assert(INCREMENT_MAX + 1 < STREAM_MAX_ROUNDS, "a chain is a stream's rounds");
_Static_assert(INCREMENT_MAX_FILES < STREAM_MAX_FILES / 2, "and there is room for all else");

bool increment_may_be(const struct increment_chain *chain, uint64_t since_us, uint32_t pid,
                      uint64_t written_bytes)
{
    return since_us != 0 && chain->taken_us == since_us && chain->pid == pid &&
           chain->n < INCREMENT_MAX && chain->n_files < INCREMENT_MAX_FILES &&
           chain->increment_bytes <= chain->whole_bytes &&
           written_bytes <= chain->whole_bytes - chain->increment_bytes;
}

void increment_add(struct increment_chain *chain, bool is_increment,
                   const struct increment_chain *one)
{
    struct increment_chain next = *one;

    next.n = 0;
    next.increment_bytes = 0;
    if (is_increment) {
        next.n = chain->n + 1;
        next.n_files += chain->n_files;
        next.increment_bytes = chain->increment_bytes + one->whole_bytes;
        next.whole_bytes = chain->whole_bytes;
    }
    *chain = next;
}

void increment_chain_encode(const struct increment_chain *chain, struct writer *w)
{
    write_u8(w, CHAIN_VERSION);
    write_u64(w, chain->taken_us);
    write_u32(w, chain->pid);
    write_u32(w, chain->n);
    write_u32(w, chain->n_files);
    write_u64(w, chain->whole_bytes);
    write_u64(w, chain->increment_bytes);
}

int increment_chain_decode(const void *data, size_t size, struct increment_chain *ret)
{
    struct increment_chain chain;
    struct reader r;
    bool is_known;

    reader_init(&r, data, size);
    is_known = read_u8(&r) == CHAIN_VERSION;
    chain.taken_us = read_u64(&r);
    chain.pid = read_u32(&r);
    chain.n = read_u32(&r);
    chain.n_files = read_u32(&r);
    chain.whole_bytes = read_u64(&r);
    chain.increment_bytes = read_u64(&r);
    if (!reader_done(&r) || !is_known || chain.taken_us == 0 || chain.n > INCREMENT_MAX ||
        (chain.n == 0 && chain.increment_bytes != 0))
        return -EBADMSG;
    *ret = chain;
    return 0;
}

bool increment_is_pages(const char *file)
{
    return strncmp(file, "pages-", 6) == 0;
}

bool increment_is_memory(const char *file)
{
    return increment_is_pages(file) || strncmp(file, "pagemap-", 8) == 0;
}
