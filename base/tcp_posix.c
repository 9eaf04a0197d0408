#include "base/tcp_posix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/clean.h"

int tcp_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    return fd < 0 ? -errno : fd;
}

void tcp_set(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof(value));
}

void tcp_set_class(int fd, uint8_t tos)
{
    tcp_set(fd, IPPROTO_IP, IP_TOS, tos);
    /* Few packets are on the way at once: what is lost again is sent again after the same time, not
     * after twice as long (Linux, Documentation/networking/tcp-thin.rst). */
    tcp_set(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1);
    if (tos == TOS_CONTROL)
        tcp_set(fd, IPPROTO_TCP, TCP_MAXSEG, CONTROL_SEGMENT_SIZE);
}

struct sockaddr_in tcp_address(uint32_t address, uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(address),
        .sin_port = htons(port),
    };
}

int tcp_bind(int fd, uint32_t address, uint16_t port)
{
    struct sockaddr_in name = tcp_address(address, port);

    return bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0 ? -errno : 0;
}

int tcp_listen(uint32_t address, uint16_t port, uint8_t tos, int backlog, struct err *err)
{
    cleanup_close int fd = tcp_socket();
    char text[IPV4_TEXT_SIZE];
    int rc;

    if (fd < 0)
        return err_set(err, fd, "cannot make a socket: %s", strerror(-fd));
    tcp_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    tcp_set_class(fd, tos);
    rc = tcp_bind(fd, address, port);
    if (rc == 0 && listen(fd, backlog) < 0)
        rc = -errno;
    if (rc < 0)
        return err_set(err, rc, "cannot listen on %s:%u: %s", ipv4_format(address, text), port,
                       strerror(-rc));
    return steal_fd(&fd);
}
