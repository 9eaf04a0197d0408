#include "migrate/neighbours.h"

#include <stdio.h>
#include <string.h>

enum { IS_COMPLETE = 0x2 }; /* ATF_COM of linux/if_arp.h */

static bool parse_mac(const char *text, uint8_t ret[MAC_SIZE])
{
    unsigned bytes[MAC_SIZE];
    int end = 0;

    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
               &bytes[4], &bytes[5], &end) != MAC_SIZE ||
        text[end] != '\0')
        return false;
    for (int i = 0; i < MAC_SIZE; i++)
        ret[i] = (uint8_t)bytes[i];
    return true;
}

/* "10.7.0.2         0x1         0x2         02:5c:0a:07:00:02     *        eth0" */
bool neighbour_parse(const char *line, struct neighbour *ret)
{
    char ip[IPV4_TEXT_SIZE], mac[MAC_TEXT_SIZE], interface[16];
    struct neighbour n;
    unsigned flags;

    if (sscanf(line, "%15s 0x%*x 0x%x %17s %*s %15s", ip, &flags, mac, interface) != 4 ||
        (flags & IS_COMPLETE) == 0 || strcmp(interface, "eth0") != 0 ||
        ipv4_parse(ip, &n.ip, NULL) < 0 || !parse_mac(mac, n.mac))
        return false;
    *ret = n;
    return true;
}
