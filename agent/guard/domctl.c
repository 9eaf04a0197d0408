#include "agent/guard/domctl.h"

#include <string.h>

#include "base/bytes.h"

enum {
    DOMCTL_VERSION = 0x17,
    SYSCTL_VERSION = 0x15,
    SYSCTL_LIST = 6,
    LISTED_AT = 24, /* in sysctl's answer: how many were */
    FLAGS_AT = 4,   /* of a domain in the list */
    PAGES_AT = 8,
    CPU_AT = 56,
    HANDLE_AT = 76,
    FLAG_DYING = 1 << 0,
    FLAG_PAUSED = 1 << 3,
};

/* Of UUIDs made here: "skein", whether it stays, version 4, the variant. */
static const uint8_t prefix[] = {0x73, 0x6b, 0x65, 0x69, 0x6e, 0, 0x40, 0, 0x80, 0};
enum { STAYS_AT = 5, CREATED_AT = sizeof(prefix) };

void domain_handle(const struct domain_name *name, uint8_t ret[DOMAIN_HANDLE_SIZE])
{
    memcpy(ret, prefix, sizeof(prefix));
    ret[STAYS_AT] = name->stays;
    for (int i = 0; i < DOMAIN_HANDLE_SIZE - CREATED_AT; i++)
        ret[DOMAIN_HANDLE_SIZE - 1 - i] = (uint8_t)(name->created >> (8 * i));
}

bool domain_is_of(const struct domain_name *name, uint64_t created)
{
    return ((name->created ^ created) & 0xffffffffffffULL) == 0;
}

bool domain_handle_read(const uint8_t handle[DOMAIN_HANDLE_SIZE], struct domain_name *ret)
{
    struct domain_name name = {.stays = handle[STAYS_AT] == 1};
    uint8_t same[DOMAIN_HANDLE_SIZE];

    for (int i = CREATED_AT; i < DOMAIN_HANDLE_SIZE; i++)
        name.created = name.created << 8 | handle[i];
    domain_handle(&name, same);
    if (memcmp(handle, same, DOMAIN_HANDLE_SIZE) != 0)
        return false;
    *ret = name;
    return true;
}

void domctl_encode(enum domctl_order order, uint16_t domain, uint8_t ret[DOMCTL_SIZE])
{
    struct writer w;

    memset(ret, 0, DOMCTL_SIZE);
    writer_init(&w, ret, DOMCTL_SIZE);
    write_u32(&w, order);
    write_u32(&w, DOMCTL_VERSION);
    write_u16(&w, domain);
}

void sysctl_encode_list(uint16_t first, uint32_t max, uint64_t list, uint8_t ret[SYSCTL_SIZE])
{
    struct writer w;

    memset(ret, 0, SYSCTL_SIZE);
    writer_init(&w, ret, SYSCTL_SIZE);
    write_u32(&w, SYSCTL_LIST);
    write_u32(&w, SYSCTL_VERSION);
    write_u16(&w, first);
    write_u16(&w, 0);
    write_u32(&w, max);
    write_u64(&w, list);
}

uint32_t sysctl_decode_list(const uint8_t answer[SYSCTL_SIZE])
{
    struct reader r;

    reader_init(&r, answer + LISTED_AT, sizeof(uint32_t));
    return read_u32(&r);
}

void domain_info_decode(const uint8_t bytes[DOMAIN_INFO_SIZE], struct domain_info *ret)
{
    struct reader r;
    uint32_t flags;

    reader_init(&r, bytes, DOMAIN_INFO_SIZE);
    ret->id = read_u16(&r);
    reader_init(&r, bytes + FLAGS_AT, sizeof(flags));
    flags = read_u32(&r);
    ret->is_dying = (flags & FLAG_DYING) != 0;
    ret->is_paused = (flags & FLAG_PAUSED) != 0;
    reader_init(&r, bytes + PAGES_AT, sizeof(ret->pages));
    ret->pages = read_u64(&r);
    reader_init(&r, bytes + CPU_AT, sizeof(ret->cpu_ns));
    ret->cpu_ns = read_u64(&r);
    memcpy(ret->handle, bytes + HANDLE_AT, DOMAIN_HANDLE_SIZE);
}
