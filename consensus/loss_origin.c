#include "consensus/loss_origin.h"

void loss_origin_encode(const struct loss_origin *origin, struct writer *w)
{
    write_u8(w, (uint8_t)origin->since);
    write_u32(w, origin->ago_ms);
    write_u32(w, origin->lease_end_ms);
    write_u32(w, origin->elected_ms);
}

void loss_origin_decode(struct reader *r, struct loss_origin *ret)
{
    uint8_t since = read_u8(r);

    ret->ago_ms = read_u32(r);
    ret->lease_end_ms = read_u32(r);
    ret->elected_ms = read_u32(r);
    if (since > LOSS_SINCE_ELECTION)
        reader_fail(r);
    ret->since = since;
}
