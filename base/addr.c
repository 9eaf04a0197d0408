#include "base/addr.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int ipv4_parse(const char *text, uint32_t *ret, struct err *err)
{
    unsigned part[4];
    char canonical[IPV4_TEXT_SIZE];
    uint32_t address = 0;

    if (sscanf(text, "%3u.%3u.%3u.%3u", &part[0], &part[1], &part[2], &part[3]) != 4)
        return err_set(err, -EINVAL, "'%s' is not an IPv4 address", text);
    for (int i = 0; i < 4; i++) {
        if (part[i] > 255)
            return err_set(err, -EINVAL, "'%s' is not an IPv4 address", text);
        address = address << 8 | part[i];
    }
    if (strcmp(ipv4_format(address, canonical), text) != 0)
        return err_set(err, -EINVAL, "'%s' is not an IPv4 address", text);
    *ret = address;
    return 0;
}

const char *ipv4_format(uint32_t address, char ret[IPV4_TEXT_SIZE])
{
    snprintf(ret, IPV4_TEXT_SIZE, "%u.%u.%u.%u", address >> 24, address >> 16 & 255,
             address >> 8 & 255, address & 255);
    return ret;
}

static uint32_t mask_of(uint8_t prefix)
{
    return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

int subnet_parse(const char *text, struct subnet *ret, struct err *err)
{
    char address[IPV4_TEXT_SIZE];
    const char *slash = strchr(text, '/');
    unsigned prefix;
    uint32_t network;
    char end;
    int r;

    if (slash == NULL || (size_t)(slash - text) >= sizeof(address) || slash[1] < '0' ||
        slash[1] > '9' || sscanf(slash + 1, "%2u%c", &prefix, &end) != 1)
        return err_set(err, -EINVAL, "'%s' is not a subnet; write it as 10.7.0.0/24", text);
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    r = ipv4_parse(address, &network, err);
    if (r < 0)
        return r;
    if (prefix < 8 || prefix > 30)
        return err_set(err, -EINVAL, "subnet %s: the prefix must be 8 to 30", text);
    if ((network & ~mask_of((uint8_t)prefix)) != 0)
        return err_set(err, -EINVAL, "subnet %s has host bits set", text);
    *ret = (struct subnet){.network = network, .prefix = (uint8_t)prefix};
    return 0;
}

const char *subnet_format(struct subnet subnet, char ret[SUBNET_TEXT_SIZE])
{
    char address[IPV4_TEXT_SIZE];

    snprintf(ret, SUBNET_TEXT_SIZE, "%s/%u", ipv4_format(subnet.network, address), subnet.prefix);
    return ret;
}

bool subnet_contains(struct subnet subnet, uint32_t address)
{
    return (address & mask_of(subnet.prefix)) == subnet.network;
}

bool subnet_overlaps(struct subnet a, struct subnet b)
{
    return subnet_contains(a, b.network) || subnet_contains(b, a.network);
}

const char *mac_format(const uint8_t mac[MAC_SIZE], char ret[MAC_TEXT_SIZE])
{
    snprintf(ret, MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    return ret;
}

static void mac_with_prefix(uint8_t second, uint32_t address, uint8_t ret[MAC_SIZE])
{
    ret[0] = 0x02;
    ret[1] = second;
    for (int i = 0; i < 4; i++)
        ret[2 + i] = (uint8_t)(address >> (24 - 8 * i));
}

void mac_of_guest(uint32_t address, uint8_t ret[MAC_SIZE])
{
    mac_with_prefix(0x5c, address, ret);
}

void mac_of_vtep(uint32_t address, uint8_t ret[MAC_SIZE])
{
    mac_with_prefix(0x5d, address, ret);
}
