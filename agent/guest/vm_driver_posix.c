#include "agent/guest/vm_driver_posix.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clean.h"

#define CAPABILITIES "/proc/xen/capabilities"
#define CONTROL      "control_d"

bool vm_driver_is_xen(void)
{
    char text[64] = "";
    cleanup_close int fd = open(CAPABILITIES, O_RDONLY | O_CLOEXEC);

    return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strstr(text, CONTROL) != NULL;
}
