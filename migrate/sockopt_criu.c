/* sockopt_criu: part of a library that is preloaded into `criu dump`.
 *
 * Since Linux 6.16 only Unix, netlink and Bluetooth sockets know SO_PASSCRED and SO_PASSSEC; asking
 * any other fails with EOPNOTSUPP. CRIU up to 4.1 asks every socket, and gives up the whole dump
 * (its issue 2705, fixed in 4.2). Here such a question is answered as older kernels did: "off".
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The C library's own, not to be had by its name here: this file replaces that name. */
static int ask_kernel(int fd, int level, int option, void *value, socklen_t *size)
{
    return (int)syscall(SYS_getsockopt, fd, level, option, value, size);
}

__attribute__((visibility("default"))) int getsockopt(int fd, int level, int option,
                                                      void *restrict value,
                                                      socklen_t *restrict size)
{
    int r = ask_kernel(fd, level, option, value, size);

    if (r == 0 || errno != EOPNOTSUPP || level != SOL_SOCKET ||
        (option != SO_PASSCRED && option != SO_PASSSEC) || *size < sizeof(int))
        return r;
    memset(value, 0, sizeof(int));
    *size = sizeof(int);
    return 0;
}
