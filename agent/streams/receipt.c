#include "agent/streams/receipt.h"

#include <errno.h>
#include <string.h>

enum { RECEIPT_VERSION = 2 };

void receipt_encode(const struct receipt *receipt, struct writer *w)
{
    write_u8(w, RECEIPT_VERSION);
    write_bool(w, receipt->is_kept);
    write_bytes(w, receipt->digest, DIGEST_SIZE);
    write_u64(w, receipt->size);
    write_bool(w, receipt->may_continue);
    write_string(w, receipt->text);
}

int receipt_decode(const void *data, size_t size, struct receipt *ret)
{
    struct reader r;

    memset(ret, 0, sizeof(*ret));
    reader_init(&r, data, size);
    if (read_u8(&r) != RECEIPT_VERSION)
        reader_fail(&r);
    ret->is_kept = read_bool(&r);
    read_bytes(&r, ret->digest, DIGEST_SIZE);
    ret->size = read_u64(&r);
    ret->may_continue = read_bool(&r);
    read_string(&r, ret->text, sizeof(ret->text));
    if (reader_done(&r))
        return 0;
    memset(ret, 0, sizeof(*ret));
    return -EBADMSG;
}
