#include "agent/guest/vm_loop_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clean.h"

enum { TRIES = 64 };

/* Another process may take the free one first: -EBUSY. */
static int attach(int control, const struct loop_config *config, char ret[VM_LOOP_PATH_SIZE])
{
    cleanup_close int device = -1;
    int number = ioctl(control, LOOP_CTL_GET_FREE);

    if (number < 0)
        return -errno;
    snprintf(ret, VM_LOOP_PATH_SIZE, "/dev/loop%d", number);
    device = open(ret, O_RDWR | O_CLOEXEC);
    if (device < 0 || ioctl(device, LOOP_CONFIGURE, config) < 0)
        return -errno;
    return steal_fd(&device);
}

int vm_loop_attach(const char *file, bool is_fixed, char ret[VM_LOOP_PATH_SIZE], int *ret_fd,
                   struct err *err)
{
    cleanup_close int backing = open(file, (is_fixed ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW);
    cleanup_close int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    struct loop_config config = {.fd = (uint32_t)backing};
    int rc = -EBUSY;

    if (backing < 0)
        return err_set(err, -errno, "cannot open %s: %s", file, strerror(errno));
    if (control < 0)
        return err_set(err, -errno, "cannot open /dev/loop-control: %s", strerror(errno));
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (is_fixed ? (uint32_t)LO_FLAGS_READ_ONLY : 0);
    for (int i = 0; i < TRIES && rc == -EBUSY; i++)
        rc = attach(control, &config, ret);
    if (rc < 0)
        return err_set(err, rc, "no loop device for %s: %s", file, strerror(-rc));
    *ret_fd = rc;
    return 0;
}
