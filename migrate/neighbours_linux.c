#include "migrate/neighbours_linux.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clean.h"
#include "migrate/neighbours.h"

/* As CRIU's files are named: so it is sent with them. */
#define NEIGHBOURS_FILE "%s/neighbours.img"

enum { NEIGHBOURS_MAX = 256, LINE_SIZE = 160 };

static FILE *open_kept(const char *images, const char *mode)
{
    char path[300];

    if (snprintf(path, sizeof(path), NEIGHBOURS_FILE, images) >= (int)sizeof(path))
        return NULL;
    return fopen(path, mode);
}

void neighbours_keep(pid_t pid, const char *images)
{
    char path[64], line[LINE_SIZE];
    struct neighbour known;
    FILE *table, *kept;
    int n = 0;

    snprintf(path, sizeof(path), "/proc/%d/net/arp", (int)pid);
    table = fopen(path, "re");
    kept = open_kept(images, "we");
    while (table != NULL && kept != NULL && n < NEIGHBOURS_MAX &&
           fgets(line, sizeof(line), table) != NULL) {
        if (neighbour_parse(line, &known) && fputs(line, kept) >= 0)
            n++;
    }
    if (table != NULL)
        fclose(table);
    if (kept != NULL)
        fclose(kept);
}

static void know(int fd, const struct neighbour *neighbour)
{
    struct sockaddr_in ip = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(neighbour->ip)};
    struct arpreq request = {.arp_flags = ATF_COM, .arp_dev = "eth0"};

    memcpy(&request.arp_pa, &ip, sizeof(ip));
    request.arp_ha.sa_family = ARPHRD_ETHER;
    memcpy(request.arp_ha.sa_data, neighbour->mac, MAC_SIZE);
    (void)ioctl(fd, SIOCSARP, &request);
}

void neighbours_know(const char *netns, const char *images)
{
    cleanup_close int space = open(netns, O_RDONLY | O_CLOEXEC);
    cleanup_close int fd = -1;
    FILE *kept = open_kept(images, "re");
    struct neighbour neighbour;
    char line[LINE_SIZE];

    if (kept == NULL)
        return;
    if (space >= 0 && setns(space, CLONE_NEWNET) == 0)
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (int n = 0; fd >= 0 && n < NEIGHBOURS_MAX && fgets(line, sizeof(line), kept) != NULL; n++) {
        if (neighbour_parse(line, &neighbour))
            know(fd, &neighbour);
    }
    fclose(kept);
}
