/* page_wire: what `criu lazy-pages` and a page server say to each other (pure).
 *
 * A request, "give me n pages of this process from there on", and its answer, which names them
 * again and is followed by them. An answer may bring fewer pages than were asked for, never none.
 * Numbers are in the order of the machine that both run on; only little-endian is read here. There
 * is no version in it, but the two forms that there have been tell themselves apart: the second
 * field is a small number in the one and an address in the other.
 *
 * Source: struct page_server_iov of criu's page-xfer.c, up to 4.1.1 and since 4.2.
 */
#ifndef SKEIN_MIGRATE_PAGE_WIRE_H
#define SKEIN_MIGRATE_PAGE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum page_form {
    PAGE_FORM_UNKNOWN,
    PAGE_FORM_NARROW, /* up to 4.1.1: the number of pages has 32 bits */
    PAGE_FORM_WIDE,   /* since 4.2: 64 bits, aligned */
};

enum {
    PAGE_MESSAGE_MIN = 24,
    PAGE_MESSAGE_MAX = 32,
    PAGE_REQUEST_MAX = 16 * 1024 * 1024, /* bytes that one request asks for; criu: 4 MiB */
};

struct page_message {
    bool is_answer;
    uint64_t process; /* as criu counts them */
    uint64_t address;
    uint32_t n; /* pages */
};

/* Of a request at the front of `size` bytes. */
enum page_form page_form_of(const uint8_t *bytes, size_t size, size_t page_size);

size_t page_message_size(enum page_form form);

/* `bytes` has all of it. 0, or -EPROTO: neither a request for pages nor an answer with them. */
int page_message_decode(enum page_form form, const uint8_t *bytes, size_t page_size,
                        struct page_message *ret);
void page_message_encode(enum page_form form, const struct page_message *message, uint8_t *ret);

#endif
