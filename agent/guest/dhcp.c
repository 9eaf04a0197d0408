#include "agent/guest/dhcp.h"

#include <string.h>

enum {
    ETHERNET_SIZE = 14,
    ETHERTYPE_IPV4 = 0x0800,
    IPV4_SIZE = 20,
    PROTOCOL_UDP = 17,
    UDP_SIZE = 8,
    BOOTP_SIZE = 240, /* with the magic cookie behind it */
    BOOTP_MIN = 300,  /* RFC 1542: some drop what is shorter */
    COOKIE = 0x63825363,
    FLAG_BROADCAST = 0x8000,
    BOOT_REQUEST = 1,
    BOOT_REPLY = 2,
    HOST_NAME_MAX_SIZE = 63,
};

enum { /* where things stand in a BOOTP message */
       AT_OP = 0,
       AT_HARDWARE = 1,
       AT_HARDWARE_SIZE = 2,
       AT_XID = 4,
       AT_FLAGS = 10,
       AT_CLIENT_IP = 12,
       AT_YOUR_IP = 16,
       AT_RELAY_IP = 24,
       AT_MAC = 28,
       AT_COOKIE = 236,
};

enum option {
    OPTION_PAD = 0,
    OPTION_MASK = 1,
    OPTION_HOST_NAME = 12,
    OPTION_MTU = 26,
    OPTION_ASKED_IP = 50,
    OPTION_LEASE_TIME = 51,
    OPTION_TYPE = 53,
    OPTION_SERVER = 54,
    OPTION_END = 255,
};

enum type { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6, INFORM = 8 };

struct question {
    const uint8_t *bootp; /* BOOTP_SIZE bytes */
    enum type type;
    uint32_t asked_ip, client_ip; /* 0 = none */
    uint32_t server;              /* that is meant; 0 = any */
};

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
    return be16(p) << 16 | be16(p + 2);
}

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

/* ---- the question */

/* The UDP payload of a whole IPv4 datagram for the server's port; NULL: something else. */
static const uint8_t *payload_of(const uint8_t *frame, size_t size, size_t *ret_size)
{
    const uint8_t *ip = frame + ETHERNET_SIZE, *udp;
    size_t ip_size, header, udp_size;

    if (size < ETHERNET_SIZE + IPV4_SIZE + UDP_SIZE || be16(frame + 12) != ETHERTYPE_IPV4)
        return NULL;
    header = (size_t)(ip[0] & 15) * 4;
    ip_size = be16(ip + 2);
    if (ip[0] >> 4 != 4 || header < IPV4_SIZE || ip_size > size - ETHERNET_SIZE ||
        ip_size < header + UDP_SIZE)
        return NULL;
    if (ip[9] != PROTOCOL_UDP || (be16(ip + 6) & 0x3fff) != 0) /* fragments */
        return NULL;
    udp = ip + header;
    udp_size = be16(udp + 4);
    if (be16(udp + 2) != DHCP_SERVER_PORT || udp_size < UDP_SIZE || udp_size > ip_size - header)
        return NULL;
    *ret_size = udp_size - UDP_SIZE;
    return udp + UDP_SIZE;
}

static void take_option(struct question *q, uint8_t code, const uint8_t *value, uint8_t size)
{
    if (code == OPTION_TYPE && size == 1)
        q->type = value[0];
    else if (code == OPTION_ASKED_IP && size == 4)
        q->asked_ip = be32(value);
    else if (code == OPTION_SERVER && size == 4)
        q->server = be32(value);
}

static bool read_options(struct question *q, const uint8_t *at, const uint8_t *end)
{
    while (at < end && *at != OPTION_END) {
        if (*at == OPTION_PAD) {
            at++;
            continue;
        }
        if (end - at < 2 || end - at < 2 + at[1])
            return false;
        take_option(q, at[0], at + 2, at[1]);
        at += 2 + at[1];
    }
    return q->type != 0;
}

static bool read_question(const struct dhcp_lease *lease, const uint8_t *frame, size_t size,
                          struct question *ret)
{
    const uint8_t *bootp = payload_of(frame, size, &size);

    if (bootp == NULL || size < BOOTP_SIZE || bootp[AT_OP] != BOOT_REQUEST ||
        bootp[AT_HARDWARE] != 1 || bootp[AT_HARDWARE_SIZE] != MAC_SIZE ||
        be32(bootp + AT_COOKIE) != COOKIE || memcmp(bootp + AT_MAC, lease->mac, MAC_SIZE) != 0)
        return false;
    *ret = (struct question){.bootp = bootp, .client_ip = be32(bootp + AT_CLIENT_IP)};
    return read_options(ret, bootp + BOOTP_SIZE, bootp + size);
}

/* ---- the answer */

/* 0: none. Of several servers the machine may mean another one. */
static enum type type_of_answer(const struct dhcp_lease *lease, const struct question *q)
{
    uint32_t wanted = q->asked_ip != 0 ? q->asked_ip : q->client_ip;

    if (q->server != 0 && q->server != lease->server)
        return 0;
    switch (q->type) {
    case DISCOVER:
        return OFFER;
    case REQUEST:
        return wanted == lease->ip ? ACK : NAK;
    case INFORM:
        return ACK;
    default: /* RELEASE and DECLINE change nothing here */
        return 0;
    }
}

struct cursor {
    uint8_t *at;
};

static void put_option(struct cursor *c, enum option option, const void *value, size_t size)
{
    *c->at++ = (uint8_t)option;
    *c->at++ = (uint8_t)size;
    memcpy(c->at, value, size);
    c->at += size;
}

static void put_option32(struct cursor *c, enum option option, uint32_t value)
{
    uint8_t bytes[4];

    put32(bytes, value);
    put_option(c, option, bytes, sizeof(bytes));
}

static void put_settings(struct cursor *c, const struct dhcp_lease *lease)
{
    size_t length = strnlen(lease->host_name, HOST_NAME_MAX_SIZE);
    uint8_t mtu[2];

    put16(mtu, lease->mtu);
    put_option32(c, OPTION_MASK, UINT32_MAX << (32 - lease->prefix));
    put_option(c, OPTION_MTU, mtu, sizeof(mtu));
    if (length > 0)
        put_option(c, OPTION_HOST_NAME, lease->host_name, length);
}

/* Returns its size. */
static size_t write_bootp(const struct dhcp_lease *lease, const struct question *q, enum type type,
                          uint8_t *bootp)
{
    struct cursor c = {bootp + BOOTP_SIZE};
    uint8_t value = (uint8_t)type;

    memcpy(bootp, q->bootp, AT_COOKIE);
    bootp[AT_OP] = BOOT_REPLY;
    bootp[3] = 0; /* hops */
    memset(bootp + AT_YOUR_IP, 0, AT_MAC - AT_YOUR_IP);
    memset(bootp + AT_MAC + MAC_SIZE, 0, AT_COOKIE - AT_MAC - MAC_SIZE);
    put32(bootp + AT_COOKIE, COOKIE);
    put_option(&c, OPTION_TYPE, &value, 1);
    put_option32(&c, OPTION_SERVER, lease->server);
    if (type != NAK && q->type != INFORM) {
        put32(bootp + AT_YOUR_IP, lease->ip);
        put_option32(&c, OPTION_LEASE_TIME, UINT32_MAX); /* for good */
    }
    if (type == NAK)
        memset(bootp + AT_CLIENT_IP, 0, 4);
    else
        put_settings(&c, lease);
    *c.at++ = OPTION_END;
    if (c.at < bootp + BOOTP_MIN)
        memset(c.at, OPTION_PAD, (size_t)(bootp + BOOTP_MIN - c.at));
    return c.at < bootp + BOOTP_MIN ? BOOTP_MIN : (size_t)(c.at - bootp);
}

static uint32_t ipv4_checksum(const uint8_t *header)
{
    uint32_t sum = 0;

    for (int i = 0; i < IPV4_SIZE; i += 2)
        sum += be16(header + i);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~(sum + (sum >> 16)) & 0xffff;
}

/* A machine without an address may be deaf to what is sent to one: it says so by a flag. UDP over
 * IPv4 needs no checksum (0). */
static size_t write_headers(const struct dhcp_lease *lease, bool is_broadcast, uint8_t *ret,
                            size_t bootp_size)
{
    uint8_t *ip = ret + ETHERNET_SIZE, *udp = ip + IPV4_SIZE;
    static const uint8_t server_mac[MAC_SIZE] = {0x02, 's', 'k', 'e', 'i', 'n'};

    memcpy(ret, lease->mac, MAC_SIZE);
    if (is_broadcast)
        memset(ret, 0xff, MAC_SIZE);
    memcpy(ret + MAC_SIZE, server_mac, MAC_SIZE);
    put16(ret + 12, ETHERTYPE_IPV4);
    memset(ip, 0, IPV4_SIZE + UDP_SIZE);
    ip[0] = 4 << 4 | IPV4_SIZE / 4;
    put16(ip + 2, (uint32_t)(IPV4_SIZE + UDP_SIZE + bootp_size));
    ip[8] = 64;
    ip[9] = PROTOCOL_UDP;
    put32(ip + 12, lease->server);
    put32(ip + 16, is_broadcast ? UINT32_MAX : lease->ip);
    put16(ip + 10, ipv4_checksum(ip));
    put16(udp, DHCP_SERVER_PORT);
    put16(udp + 2, DHCP_CLIENT_PORT);
    put16(udp + 4, (uint32_t)(UDP_SIZE + bootp_size));
    return ETHERNET_SIZE + IPV4_SIZE + UDP_SIZE + bootp_size;
}

size_t dhcp_answer(const struct dhcp_lease *lease, const uint8_t *frame, size_t size,
                   uint8_t ret[DHCP_ANSWER_MAX])
{
    uint8_t *bootp = ret + ETHERNET_SIZE + IPV4_SIZE + UDP_SIZE;
    struct question q;
    enum type type;
    bool is_broadcast;

    if (!read_question(lease, frame, size, &q))
        return 0;
    type = type_of_answer(lease, &q);
    if (type == 0)
        return 0;
    is_broadcast = type == NAK || (be16(q.bootp + AT_FLAGS) & FLAG_BROADCAST) != 0;
    return write_headers(lease, is_broadcast, ret, write_bootp(lease, &q, type, bootp));
}
