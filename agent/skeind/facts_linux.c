#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/guest/lxc.h"
#include "agent/guest/vm_driver_posix.h"
#include "agent/skeind/facts.h"
#include "base/clean.h"
#include "base/kernel_linux.h"

/* First number in a small file below /sys; -1 = there is none. */
static int read_number(const char *format, unsigned core)
{
    char path[128], text[32] = "";
    cleanup_close int fd = -1;

    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/%s", core, format);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
        return -1;
    return atoi(text);
}

static uint16_t or_zero(int v)
{
    return v > 0 ? (uint16_t)v : 0;
}

static uint16_t numa_of(unsigned core)
{
    char path[96];

    for (unsigned node = 0; node < 64; node++) {
        snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/node%u", core, node);
        if (access(path, F_OK) == 0)
            return (uint16_t)node;
    }
    return 0;
}

static void read_cores(struct machine *ret)
{
    long n = sysconf(_SC_NPROCESSORS_CONF);

    for (unsigned i = 0; i < MAX_CORES && (long)i < n; i++) {
        struct core_info *core = &ret->cores[ret->n_cores];

        if (read_number("online", i) == 0) /* core 0 has no such file */
            continue;
        core->id = (uint16_t)i;
        core->numa = numa_of(i);
        core->cluster = or_zero(read_number("cache/index3/id", i));
        core->sibling = or_zero(read_number("topology/thread_siblings_list", i));
        ret->n_cores++;
    }
}

static uint32_t address_of(const char *device)
{
    struct ifreq request = {0};
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (device[0] == '\0' || fd < 0)
        return 0;
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
    if (ioctl(fd, SIOCGIFADDR, &request) < 0)
        return 0;
    return ntohl(((struct sockaddr_in *)(void *)&request.ifr_addr)->sin_addr.s_addr);
}

static bool lies_beside_us(const char *program)
{
    char path[256], *slash;
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - strlen(program) - 1);

    if (n <= 0)
        return false;
    path[n] = '\0';
    slash = strrchr(path, '/');
    strcpy(slash + 1, program);
    return access(path, X_OK) == 0;
}

/* Beside this program, and where the distribution puts it. */
static bool has_vm(const char *arch)
{
    char path[256];

    if (access(VM_LIBVIRTD, X_OK) < 0)
        return false;
    if (vm_driver_is_xen())
        return lies_beside_us(VM_XEN_PROGRAM);
    if (!lies_beside_us(VM_PROGRAM))
        return false;
    snprintf(path, sizeof(path), VM_EMULATOR_FORMAT, arch);
    return access(path, X_OK) == 0;
}

void machine_try(struct machine *ret)
{
    ret->can_track_dirty = kernel_tracks_dirty();
    ret->has_kvm = vm_driver_has_kvm();
}

void machine_read(const struct config *config, struct machine *ret)
{
    char guard[CONFIG_PATH_SIZE + 16];
    struct utsname uts;
    struct sysinfo info;

    *ret = (struct machine){.can_track_dirty = ret->can_track_dirty, .has_kvm = ret->has_kvm};
    if (uname(&uts) == 0) {
        snprintf(ret->host_name, sizeof(ret->host_name), "%.63s", uts.nodename);
        snprintf(ret->arch, sizeof(ret->arch), "%.15s", uts.machine);
    }
    if (sysinfo(&info) == 0)
        ret->memory_mib = (uint32_t)((uint64_t)info.totalram * info.mem_unit >> 20);
    ret->uplink_address = address_of(config->uplink);
    read_cores(ret);
    snprintf(guard, sizeof(guard), "%s/guard.sock", config->run_dir);
    ret->has_guard = access(guard, F_OK) == 0;
    ret->is_xen = vm_driver_is_xen();
    ret->has_vm = has_vm(ret->arch);
    ret->has_lxc = lies_beside_us(LXC_PROGRAM);
    ret->can_lazy = kernel_has_userfaultfd();
}
