#include "agent/guest/vm_driver_posix.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
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

bool vm_driver_has_kvm(void)
{
    cleanup_close int kvm = open(VM_KVM, O_RDWR | O_CLOEXEC);
    cleanup_close int machine = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

    return machine >= 0;
}
