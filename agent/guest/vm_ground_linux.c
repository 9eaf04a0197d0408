#include "agent/guest/vm_ground_linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/guest/unpack_whole_posix.h"
#include "agent/guest/vm_driver_posix.h"
#include "base/clean.h"
#include "base/tree_posix.h"

#define FAULTS   "/dev/userfaultfd"
#define PID_FILE "/run/libvirt/libvirtd.pid"
#define DRIVERS  "/run/libvirt/drivers"
#ifdef VM_LIBVIRT_DRIVER /* skein-xen's */
#define DRIVER VM_LIBVIRT_DRIVER
#else
#define DRIVER "libvirt_driver_qemu.so"
#endif

/* Of its own, empty: no network, pool or guest of the machine's own libvirt is in sight. */
static const char *const own_directories[] = {"/run/libvirt", "/etc/libvirt", "/var/lib/libvirt",
                                              "/var/log/libvirt"};

/* Two libvirtds of one machine must not take themselves for the same one, and one that is frozen is
 * not dead. */
static const char libvirtd_conf[] = "unix_sock_rw_perms = \"0700\"\n"
                                    "auth_unix_rw = \"none\"\n"
                                    "keepalive_interval = -1\n"
                                    "log_outputs = \"3:stderr\"\n"
                                    "host_uuid = \"%s\"\n";

/* QEMU's children, files and cgroups are the guard's affair. */
static const char qemu_conf[] = "user = \"+%u\"\n"
                                "group = \"+%u\"\n"
                                "dynamic_ownership = 0\n"
                                "remember_owner = 0\n"
                                "security_driver = \"none\"\n"
                                "seccomp_sandbox = 1\n"
                                "namespaces = [ ]\n"
                                "cgroup_controllers = [ ]\n"
                                "stdio_handler = \"file\"\n";

/* Where QEMU translates, the processor is its own and the same everywhere. libvirt asks for it all
 * the same at each start and each move, property by property: some 465 questions, half a second.
 * Without this capability of QEMU's it asks two (qemuProcessFetchGuestCPU,
 * src/qemu/qemu_process.c). */
static const char ask_less[] = "capability_filters = [ \"cpu-unavailable-features\" ]\n";

/* ---- the namespace */

static int write_file(const char *path, const char *text, struct err *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t size = strlen(text);

    if (fd < 0 || write(fd, text, size) != (ssize_t)size)
        return err_set(err, -errno, "cannot write %s: %s", path, strerror(errno));
    return 0;
}

static int own_directory(const char *path, struct err *err)
{
    int rc = tree_make(path, 0755, err);

    if (rc == 0 && mount("libvirt", path, "tmpfs", 0, "mode=755") < 0)
        rc = err_set(err, -errno, "cannot mount %s: %s", path, strerror(errno));
    return rc;
}

static int write_libvirtd_conf(struct err *err)
{
    cleanup_close int fd = open("/proc/sys/kernel/random/uuid", O_RDONLY | O_CLOEXEC);
    char uuid[37] = "", text[sizeof(libvirtd_conf) + sizeof(uuid)];

    if (fd < 0 || read(fd, uuid, sizeof(uuid) - 1) != (ssize_t)sizeof(uuid) - 1)
        return err_set(err, -EIO, "cannot make a UUID");
    snprintf(text, sizeof(text), libvirtd_conf, uuid);
    return write_file("/etc/libvirt/libvirtd.conf", text, err);
}

/* What libvirt found out about QEMU is the same for all guests here. */
static int share_cache(struct err *err)
{
    int rc = tree_make(VM_CACHE, 0700, err);

    if (rc == 0)
        rc = tree_make("/var/cache/libvirt", 0711, err);
    if (rc == 0 && mount(VM_CACHE, "/var/cache/libvirt", NULL, MS_BIND, NULL) < 0)
        rc = err_set(err, -errno, "cannot bind " VM_CACHE ": %s", strerror(errno));
    return rc;
}

/* Of libvirt's drivers QEMU's alone, or Xen's: those of networks, devices and pools would start
 * programs of their own, and be waited for at each start and each move. One that is not there
 * libvirtd goes on without (virModuleLoad, src/util/virmodule.c). */
static int pick_driver(struct err *err)
{
    static const char driver[] = VM_LIBVIRT_DRIVERS "/" DRIVER;
    int rc;

    if (access(driver, R_OK) < 0)
        return 0; /* built otherwise: it finds its own */
    rc = tree_make(DRIVERS, 0755, err);
    if (rc == 0 && symlink(driver, DRIVERS "/" DRIVER) < 0)
        rc = err_set(err, -errno, "cannot make " DRIVERS "/" DRIVER ": %s", strerror(errno));
    return rc;
}

static int write_qemu_conf(uint32_t uid, struct err *err)
{
    char text[sizeof(qemu_conf) + sizeof(ask_less) + 32];
    int n = snprintf(text, sizeof(text), qemu_conf, uid, uid);

    if (!vm_driver_has_kvm())
        snprintf(text + n, sizeof(text) - (size_t)n, "%s", ask_less);
    return write_file("/etc/libvirt/qemu.conf", text, err);
}

/* The same device, where there is one, as a file of QEMU's user: `own`. */
static int give_device(const char *path, const char *own, uint32_t uid, struct err *err)
{
    struct stat st;

    if (stat(path, &st) < 0 || !S_ISCHR(st.st_mode))
        return 0;
    if (mknod(own, S_IFCHR | 0600, st.st_rdev) < 0 || lchown(own, uid, uid) < 0 ||
        mount(own, path, NULL, MS_BIND, NULL) < 0)
        return err_set(err, -errno, "cannot give %s to its user: %s", path, strerror(errno));
    return 0;
}

/* What is shown where it was; descriptors of detached mounts. */
struct shown {
    const char *path;
    int tree;
};

/* Hides a directory behind an empty one. */
static int cover(const char *path, struct err *err)
{
    return mount("skein", path, "tmpfs", 0, "mode=755") < 0
               ? err_set(err, -errno, "cannot mount %s: %s", path, strerror(errno))
               : 0;
}

static int show(const struct shown *shown, struct err *err)
{
    int rc = tree_make(shown->path, 0755, err);

    if (rc == 0 && move_mount(shown->tree, "", AT_FDCWD, shown->path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        rc = err_set(err, -errno, "cannot show %s: %s", shown->path, strerror(errno));
    return rc;
}

/* Keys, other guests and the sockets of Skein are nothing for a QEMU. */
static int hide_skein(const struct guest_paths *paths, struct err *err)
{
    struct shown all[] = {{paths->image_root, -1}, {paths->upper, -1}, {paths->merged, -1}};
    const size_t n = sizeof(all) / sizeof(all[0]);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++) {
        all[i].tree = open_tree(AT_FDCWD, all[i].path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (all[i].tree < 0)
            rc = err_set(err, -errno, "cannot take %s along: %s", all[i].path, strerror(errno));
    }
    if (rc == 0)
        rc = cover("/var/lib/skein", err);
    if (rc == 0)
        rc = cover("/run/skein", err);
    for (size_t i = 0; i < n; i++) {
        if (rc == 0)
            rc = show(&all[i], err);
        if (all[i].tree >= 0)
            close(all[i].tree);
    }
    return rc;
}

static int hide_cgroups(struct err *err)
{
    if (umount2("/sys/fs/cgroup", MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
        return err_set(err, -errno, "cannot hide the cgroups: %s", strerror(errno));
    return 0;
}

int vm_ground_enter(const struct guest_paths *paths, uint32_t uid, struct err *err)
{
    int rc = 0;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_set(err, -errno, "cannot make a mount namespace: %s", strerror(errno));
    for (size_t i = 0; rc == 0 && i < sizeof(own_directories) / sizeof(own_directories[0]); i++)
        rc = own_directory(own_directories[i], err);
    if (rc == 0)
        rc = tree_make("/var/log/libvirt/qemu", 0700, err);
    if (rc == 0)
        rc = share_cache(err);
    if (rc == 0)
        rc = pick_driver(err);
    if (rc == 0)
        rc = write_libvirtd_conf(err);
    if (rc == 0)
        rc = write_qemu_conf(uid, err);
    if (rc == 0)
        rc = give_device(VM_KVM, "/run/libvirt/kvm", uid, err);
    if (rc == 0) /* post-copy: its memory comes when it is touched */
        rc = give_device(FAULTS, "/run/libvirt/userfaultfd", uid, err);
    if (rc == 0)
        rc = hide_skein(paths, err);
    return rc < 0 ? rc : hide_cgroups(err);
}

/* ---- libvirtd */

static int listen_for_libvirtd(struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = VM_LIBVIRT_SOCKET};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    unlink(VM_LIBVIRT_SOCKET);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 8) < 0)
        return err_set(err, -errno, "cannot listen at " VM_LIBVIRT_SOCKET ": %s", strerror(errno));
    return fd;
}

/* The socket is handed over as systemd would, so that nobody has to ask whether it is there yet. */
static void become_libvirtd(int socket_fd)
{
    enum { FIRST_FD = 3 };
    sigset_t none;
    char pid[16];

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(pid, sizeof(pid), "%d", getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", "libvirtd.socket", 1);
    if (access(DRIVERS, F_OK) == 0)
        setenv("LIBVIRT_DRIVER_DIR", DRIVERS, 1);
    socket_fd = fcntl(socket_fd, F_DUPFD, 64);
    dup2(socket_fd, FIRST_FD);
    close_range(FIRST_FD + 1, ~0U, 0);
    execl(VM_LIBVIRTD, VM_LIBVIRTD, "--timeout", "0", "--pid-file", PID_FILE, NULL);
    _exit(127);
}

int vm_ground_start_libvirtd(pid_t *ret_pid, struct err *err)
{
    cleanup_close int fd = listen_for_libvirtd(err);
    pid_t pid;

    if (fd < 0)
        return fd;
    pid = fork();
    if (pid < 0)
        return err_set(err, -errno, "cannot fork: %s", strerror(errno));
    if (pid == 0)
        become_libvirtd(fd);
    *ret_pid = pid;
    return 0;
}

/* ---- looking around */

static bool is_there(const struct guest_paths *paths, const char *name, char ret[200])
{
    struct stat st;

    snprintf(ret, 200, "%s/%s", paths->image_root, name);
    return lstat(ret, &st) == 0 && S_ISREG(st.st_mode); /* no link of the image's maker */
}

static void read_cmdline(const char *path, char ret[VM_CMDLINE_SIZE])
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, VM_CMDLINE_SIZE - 1);

    ret[n > 0 ? n : 0] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
}

void vm_ground_find(const struct guest_paths *paths, struct vm_ground_text *text,
                    struct vm_ground *ret)
{
    struct utsname uts;
    char path[200];

    *text = (struct vm_ground_text){0};
    *ret = (struct vm_ground){.arch = text->arch, .has_kvm = vm_driver_has_kvm()};
    if (uname(&uts) == 0)
        snprintf(text->arch, sizeof(text->arch), "%.15s", uts.machine);
    ret->has_disk = is_there(paths, UNPACK_DISK_NAME, path);
    if (!is_there(paths, VM_KERNEL, text->kernel))
        return;
    ret->kernel = text->kernel;
    if (is_there(paths, VM_INITRD, text->initrd))
        ret->initrd = text->initrd;
    if (is_there(paths, VM_CMDLINE, path)) {
        read_cmdline(path, text->cmdline);
        ret->cmdline = text->cmdline;
    }
}

/* Numbers and commas. */
static void read_cpus(const char *cpus, cpu_set_t *ret)
{
    char *end;

    CPU_ZERO(ret);
    while (*cpus != '\0') {
        unsigned long cpu = strtoul(cpus, &end, 10);

        if (end == cpus)
            return;
        if (cpu < CPU_SETSIZE)
            CPU_SET(cpu, ret);
        cpus = *end == ',' ? end + 1 : end;
    }
}

void vm_ground_stay_on(const char *cpus)
{
    cpu_set_t set;

    read_cpus(cpus, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

/* How many threads were moved. */
static int repin_threads(DIR *threads, const cpu_set_t *from, const cpu_set_t *to)
{
    const struct dirent *entry;
    int n = 0;

    while ((entry = readdir(threads)) != NULL) {
        pid_t thread = atoi(entry->d_name);
        cpu_set_t set;

        if (thread > 0 && sched_getaffinity(thread, sizeof(set), &set) == 0 &&
            CPU_EQUAL(&set, from) && sched_setaffinity(thread, sizeof(*to), to) == 0)
            n++;
    }
    return n;
}

/* Again as long as there are some: a thread that was not moved yet may have made another one. */
void vm_ground_repin(pid_t pid, const char *from, const char *to)
{
    cpu_set_t old, new;
    char path[32];
    DIR *threads;

    read_cpus(from, &old);
    read_cpus(to, &new);
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    threads = CPU_EQUAL(&old, &new) ? NULL : opendir(path);
    if (threads == NULL)
        return;
    while (repin_threads(threads, &old, &new) > 0)
        rewinddir(threads);
    closedir(threads);
}

static bool read_cgroups(const char *process, char *ret, size_t size)
{
    char path[48];
    cleanup_close int fd = -1;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%s/cgroup", process);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, ret, size - 1);
    if (n <= 0)
        return false;
    ret[n] = '\0';
    return true;
}

bool vm_ground_has(pid_t pid)
{
    char process[16], own[4096], its[4096];

    snprintf(process, sizeof(process), "%d", pid);
    return read_cgroups("self", own, sizeof(own)) && read_cgroups(process, its, sizeof(its)) &&
           strcmp(own, its) == 0;
}

int vm_ground_find_qemu(const char *guest, pid_t *ret, struct err *err)
{
    char path[96];
    FILE *f;

    snprintf(path, sizeof(path), "/run/libvirt/qemu/%s.pid", guest);
    f = fopen(path, "re");
    if (f == NULL || fscanf(f, "%d", ret) != 1)
        *ret = 0;
    if (f != NULL)
        fclose(f);
    if (*ret <= 0)
        return err_set(err, -ESRCH, "libvirt does not say which process QEMU is (%s)", path);
    if (!vm_ground_has(*ret))
        return err_set(err, -EXDEV, "libvirt moved QEMU out of the guest's cgroups");
    return 0;
}
