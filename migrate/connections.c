#include "migrate/connections.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

/* As the kernel numbers them (include/net/tcp_states.h). */
enum {
    STATE_ESTABLISHED = 1,
    STATE_FIN_WAIT1 = 4,
    STATE_FIN_WAIT2 = 5,
    STATE_CLOSE_WAIT = 8,
    STATE_LAST_ACK = 9,
    STATE_CLOSING = 11,
};

enum { FLAG_ACK = 0x10, PROTOCOL_TCP = 6 };

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Exactly eight or fewer hexadecimal digits. */
static bool take_hex(const char **at, int n, uint32_t *ret)
{
    uint32_t value = 0;

    for (int i = 0; i < n; i++, ++*at) {
        int d = digit(**at);

        if (d < 0)
            return false;
        value = value << 4 | (uint32_t)d;
    }
    *ret = value;
    return true;
}

static bool take_char(const char **at, char c)
{
    return **at == c && ++*at != NULL;
}

/* The kernel prints an address's words as the machine has them. */
static uint32_t in_host_order(uint32_t word)
{
    const uint16_t one = 1;

    return *(const uint8_t *)&one == 1 ? __builtin_bswap32(word) : word;
}

/* "0100000A:1F90 ", or an IPv6 address of which only the mapped ones are IPv4's. */
static bool take_end(const char **at, struct connection_end *ret)
{
    size_t size = strcspn(*at, ":");
    uint32_t words[4] = {0}, port;
    int n = size == 8 ? 1 : size == 32 ? 4 : 0;

    for (int i = 0; i < n; i++) {
        if (!take_hex(at, 8, &words[i]))
            return false;
    }
    if (n == 0 || !take_char(at, ':') || !take_hex(at, 4, &port) || !take_char(at, ' '))
        return false;
    if (n == 4 && (words[0] != 0 || words[1] != 0 || in_host_order(words[2]) != 0xffff))
        return false;
    ret->ip = in_host_order(words[n - 1]);
    ret->port = (uint16_t)port;
    return true;
}

static bool has_an_other_end(uint32_t state)
{
    return state == STATE_ESTABLISHED || state == STATE_FIN_WAIT1 || state == STATE_FIN_WAIT2 ||
           state == STATE_CLOSE_WAIT || state == STATE_LAST_ACK || state == STATE_CLOSING;
}

bool connection_parse(const char *line, struct connection *ret)
{
    struct connection c;
    uint32_t state;

    line += strspn(line, " ");
    if (!isdigit((unsigned char)*line))
        return false;
    line += strspn(line, "0123456789");
    if (strncmp(line, ": ", 2) != 0)
        return false;
    line += 2;
    if (!take_end(&line, &c.own) || !take_end(&line, &c.peer) || !take_hex(&line, 2, &state) ||
        !take_char(&line, ' ') || !has_an_other_end(state))
        return false;
    *ret = c;
    return true;
}

static void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, (uint16_t)(value >> 16));
    put16(at + 2, (uint16_t)value);
}

static uint32_t sum(const uint8_t *at, size_t size, uint32_t start)
{
    for (size_t i = 0; i < size; i += 2)
        start += (uint32_t)(at[i] << 8 | at[i + 1]);
    return start;
}

static uint16_t fold(uint32_t value)
{
    while (value > 0xffff)
        value = (value >> 16) + (value & 0xffff);
    return (uint16_t)~value;
}

void connection_probe(const struct connection *connection, uint32_t sequence,
                      uint8_t ret[CONNECTIONS_PROBE_SIZE])
{
    uint8_t *tcp = ret + 20;

    memset(ret, 0, CONNECTIONS_PROBE_SIZE);
    ret[0] = 0x45;
    put16(ret + 2, CONNECTIONS_PROBE_SIZE);
    ret[8] = 64; /* hops */
    ret[9] = PROTOCOL_TCP;
    put32(ret + 12, connection->own.ip);
    put32(ret + 16, connection->peer.ip);
    put16(ret + 10, fold(sum(ret, 20, 0)));

    put16(tcp, connection->own.port);
    put16(tcp + 2, connection->peer.port);
    put32(tcp + 4, sequence);
    tcp[12] = 5 << 4; /* words */
    tcp[13] = FLAG_ACK;
    put16(tcp + 16, fold(sum(tcp, 20, sum(ret + 12, 8, PROTOCOL_TCP + 20))));
}
