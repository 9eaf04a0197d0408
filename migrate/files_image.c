#include "migrate/files_image.h"

#include <errno.h>
#include <stdbool.h>

#include "base/bytes.h"

enum { MAGIC_COMMON = 0x54564319, MAGIC_FILES = 0x56303138 }; /* CRIU: criu/include/magic.h */

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum { TIMERFD = 17 }; /* fd_types */

enum { /* fields of file_entry and of timerfd_entry */
       FILE_TYPE = 1,
       FILE_TIMERFD = 12,
       TIMER_TICKS = 5,
       TIMER_VALUE_SEC = 7,
       TIMER_VALUE_NSEC = 8,
       TIMER_INTERVAL_SEC = 9,
       TIMER_INTERVAL_NSEC = 10,
       TIMER_FIELDS,
};

struct field {
    uint64_t number;
    unsigned wire;
    uint64_t value;      /* varint */
    struct reader bytes; /* WIRE_BYTES */
    size_t at;           /* of its value, in the reader's data */
};

static uint64_t read_varint(struct reader *r)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = read_u8(r);

        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    reader_fail(r);
    return 0;
}

static void skip(struct reader *r, uint64_t size)
{
    if (size > r->size - r->at)
        reader_fail(r);
    else if (!r->failed)
        r->at += size;
}

static void read_nested(struct reader *r, uint64_t size, struct reader *ret)
{
    reader_init(ret, r->data + r->at, 0);
    skip(r, size);
    if (!r->failed)
        ret->size = size;
}

/* False at the end, or after a failure. */
static bool next_field(struct reader *r, struct field *ret)
{
    uint64_t tag;

    if (r->failed || r->at == r->size)
        return false;
    tag = read_varint(r);
    *ret = (struct field){.number = tag >> 3, .wire = tag & 7, .at = r->at};
    switch (ret->wire) {
    case WIRE_VARINT:
        ret->value = read_varint(r);
        break;
    case WIRE_BYTES:
        read_nested(r, read_varint(r), &ret->bytes);
        break;
    case WIRE_FIXED64:
        skip(r, 8);
        break;
    case WIRE_FIXED32:
        skip(r, 4);
        break;
    default:
        reader_fail(r);
    }
    return !r->failed;
}

/* Finds the byte to set to 1; NULL when there is none. False: it is no timerfd_entry. */
static bool read_timer(struct reader *r, const uint8_t **ret)
{
    uint64_t values[TIMER_FIELDS] = {0};
    unsigned seen = 0;
    struct field field;

    *ret = NULL;
    while (next_field(r, &field)) {
        if (field.number < TIMER_TICKS || field.number >= TIMER_FIELDS)
            continue;
        if (field.wire != WIRE_VARINT || (seen & 1u << field.number) != 0)
            return false;
        seen |= 1u << field.number;
        values[field.number] = field.value;
        if (field.number == TIMER_VALUE_NSEC)
            *ret = r->data + field.at;
    }
    if (!reader_done(r) || *ret == NULL)
        return false;
    if (values[TIMER_VALUE_SEC] != 0 || values[TIMER_VALUE_NSEC] != 0 || values[TIMER_TICKS] == 0 ||
        (values[TIMER_INTERVAL_SEC] == 0 && values[TIMER_INTERVAL_NSEC] == 0))
        *ret = NULL;
    return *ret == NULL || **ret == 0; /* a zero in one byte, as every encoder writes it */
}

/* As read_timer, for any file. */
static bool read_file(struct reader *r, const uint8_t **ret)
{
    struct field field, timer = {0};
    uint64_t type = 0;

    *ret = NULL;
    while (next_field(r, &field)) {
        if (field.number == FILE_TYPE && field.wire == WIRE_VARINT)
            type = field.value;
        if (field.number == FILE_TIMERFD && timer.number != 0)
            return false;
        if (field.number == FILE_TIMERFD)
            timer = field;
    }
    if (!reader_done(r))
        return false;
    if (type != TIMERFD)
        return true;
    return timer.wire == WIRE_BYTES && read_timer(&timer.bytes, ret);
}

static int walk(uint8_t *image, size_t size, bool mends)
{
    struct reader r, entry;
    int n = 0;

    reader_init(&r, image, size);
    if (read_u32(&r) != MAGIC_COMMON || read_u32(&r) != MAGIC_FILES)
        return -EBADMSG;
    while (!r.failed && r.at < r.size) {
        const uint8_t *byte;

        read_nested(&r, read_u32(&r), &entry);
        if (r.failed || !read_file(&entry, &byte))
            return -EBADMSG;
        if (byte != NULL && mends)
            image[byte - image] = 1;
        n += byte != NULL;
    }
    return r.failed ? -EBADMSG : n;
}

int files_image_mend(uint8_t *image, size_t size)
{
    int n = walk(image, size, false); /* the whole of it is understood before a byte changes */

    return n <= 0 ? n : walk(image, size, true);
}
