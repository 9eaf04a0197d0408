#include "migrate/page_wire.h"

#include <errno.h>

#include "base/bytes.h"

/* Commands; above them flags, of which an answer has "the pages follow". */
enum { GET = 7, ADD = 6 | 4 << 16, NARROW_SIZE = 24, WIDE_SIZE = 32 };

size_t page_message_size(enum page_form form)
{
    return form == PAGE_FORM_WIDE ? WIDE_SIZE : NARROW_SIZE;
}

int page_message_decode(enum page_form form, const uint8_t *bytes, size_t page_size,
                        struct page_message *ret)
{
    struct reader r;
    uint32_t command;
    uint64_t n;

    reader_init(&r, bytes, page_message_size(form));
    command = read_u32(&r);
    n = read_u32(&r);
    if (form == PAGE_FORM_WIDE)
        n = read_u64(&r); /* what was read are four bytes that mean nothing */
    if ((command != GET && command != ADD) || n == 0 || n > PAGE_REQUEST_MAX / page_size)
        return -EPROTO;
    *ret = (struct page_message){.is_answer = command == ADD, .n = (uint32_t)n};
    ret->address = read_u64(&r);
    ret->process = read_u64(&r);
    if (ret->address == 0 || ret->address % page_size != 0 ||
        ret->address > UINT64_MAX - n * page_size)
        return -EPROTO;
    return 0;
}

void page_message_encode(enum page_form form, const struct page_message *message, uint8_t *ret)
{
    struct writer w;

    writer_init(&w, ret, page_message_size(form));
    write_u32(&w, message->is_answer ? ADD : GET);
    if (form == PAGE_FORM_WIDE)
        write_u32(&w, 0);
    if (form == PAGE_FORM_WIDE)
        write_u64(&w, message->n);
    else
        write_u32(&w, message->n);
    write_u64(&w, message->address);
    write_u64(&w, message->process);
}

static bool is_request(enum page_form form, const uint8_t *bytes, size_t size, size_t page_size)
{
    struct page_message message;

    return size >= page_message_size(form) &&
           page_message_decode(form, bytes, page_size, &message) == 0 && !message.is_answer;
}

/* In the wide form the eight bytes of the narrow one's address are a number of pages. */
static bool has_address(const uint8_t *bytes, size_t size, size_t page_size)
{
    struct reader r;

    reader_init(&r, bytes, size);
    (void)read_u64(&r);
    return read_u64(&r) > PAGE_REQUEST_MAX / page_size;
}

enum page_form page_form_of(const uint8_t *bytes, size_t size, size_t page_size)
{
    if (has_address(bytes, size, page_size))
        return is_request(PAGE_FORM_NARROW, bytes, size, page_size) ? PAGE_FORM_NARROW
                                                                    : PAGE_FORM_UNKNOWN;
    return is_request(PAGE_FORM_WIDE, bytes, size, page_size) ? PAGE_FORM_WIDE : PAGE_FORM_UNKNOWN;
}
