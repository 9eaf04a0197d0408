/* A look at a cell before a move: the node, its processes, what they hold. */
#include "migrate/look_criu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/kernel_linux.h"
#include "migrate/dirty_criu.h"
#include "migrate/ground_criu.h"
#include "migrate/lazy_criu.h"
#include "migrate/mover_criu.h"
#include "migrate/proc_criu.h"
#include "migrate/tree_walk_posix.h"
#include "migrate/volumes_criu.h"

/* ---- what this node can do */

static void look_at_node(struct look *look)
{
    struct err why;

    look->can_pre = look->can_track_dirty = kernel_tracks_dirty();
    look->can_lazy = kernel_has_userfaultfd();
    if (look->can_lazy && lazy_make_room(&why) < 0) {
        look->can_lazy = false;
        look_add(look, "pipe-limit", false, "%s", why.text);
    }
    if (!look->can_track_dirty)
        look_add(look, "no-dirty-tracking", false,
                 "this kernel does not say which pages were written (soft-dirty): no pre-copy");
    if (!kernel_has_userfaultfd())
        look_add(look, "no-userfaultfd", false,
                 "this kernel lets no page come later (userfaultfd): no post-copy");
}

/* ---- what the guest wrote */

static void look_at_tree(const char *path, struct look *look, uint64_t *held_bytes)
{
    cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct ahead_size size = {0};

    if (fd < 0)
        return;
    tree_measure(fd, 0, &size);
    look->files_bytes += size.bytes;
    *held_bytes += size.bytes;
    if (tree_stamps_mappings(fd)) {
        look->ahead_bytes += size.bytes;
        look->n_ahead += (uint32_t)size.n;
    }
}

static void look_at_trees(const struct mover_guest *guest, struct look *look)
{
    uint64_t upper_bytes = 0;

    look_at_tree(guest->upper, look, &upper_bytes);
    for (uint32_t i = 0; i < guest->n_volumes; i++) {
        char path[VOLUME_PATH_SIZE];

        if (volume_path(guest, i, path, NULL) == 0)
            look_at_tree(path, look, &look->volumes_bytes);
    }
}

static uint64_t shm_bytes(const struct mover_guest *guest)
{
    struct statvfs status;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/root" GROUND_SHM, guest->pid);
    if (statvfs(path, &status) < 0)
        return 0;
    return (uint64_t)(status.f_blocks - status.f_bfree) * status.f_frsize;
}

/* All that crosses with it but for its processes' memory. */
static void look_at_what_it_wrote(const struct mover_guest *guest, struct look *look)
{
    look_at_trees(guest, look);
    look->shm_bytes = shm_bytes(guest);
    look->files_bytes += look->shm_bytes;
    look->stages_memory = true;
}

/* ---- processes */

struct looking {
    const struct mover_guest *guest;
    struct look *look;
    struct look_sockets sockets;
    pid_t pids[DIRTY_MAX_PIDS];
    size_t n_pids;
};

/* Of the guest, be it in a pid namespace below the guest's own. */
static bool is_inside(pid_t pid, const struct mover_guest *guest)
{
    ino_t inside = proc_namespace(guest->pid, "pid");

    if (proc_namespace(pid, "pid") == inside)
        return true;
    while (pid > 1 && pid != guest->pid)
        pid = proc_parent(pid);
    return pid == guest->pid;
}

static void look_at_namespaces(const struct looking *l, pid_t pid, const char *who)
{
    static const char *const kinds[] = {"pid", "net", "mnt", "uts", "ipc", "user", "time"};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        ino_t own = proc_namespace(pid, kinds[i]);

        if (own != 0 && own != proc_namespace(l->guest->pid, kinds[i]))
            look_add(l->look, "namespace", true, "%s has a %s namespace of its own", who, kinds[i]);
    }
}

/* CRIU reads the limits of every process; those of another user's the kernel shows only to who has
 * CAP_SYS_RESOURCE. */
static void look_at_limits(struct look *look, pid_t pid, const char *who)
{
    struct rlimit limit;

    if (prlimit(pid, RLIMIT_CPU, NULL, &limit) < 0 && errno == EPERM)
        look_add(look, "limits", true,
                 "%s belongs to another user than root, and its limits cannot be read here "
                 "(CAP_SYS_RESOURCE)",
                 who);
}

static uint64_t memory_of(pid_t pid)
{
    return (proc_number(pid, "smaps_rollup", "Pss") + proc_number(pid, "smaps_rollup", "SwapPss")) *
           1024;
}

static bool look_at_process(pid_t pid, void *context)
{
    struct looking *l = context;
    char name[32], who[64];

    if (!is_inside(pid, l->guest))
        return true;
    proc_name(pid, name);
    snprintf(who, sizeof(who), "process %llu (%s)", proc_number(pid, "status", "NSpid"), name);
    l->look->n_processes++;
    if (l->n_pids < DIRTY_MAX_PIDS)
        l->pids[l->n_pids++] = pid;
    l->look->memory_bytes += memory_of(pid);
    if (proc_number(pid, "status", "TracerPid") != 0)
        look_add(l->look, "ptrace", true, "%s is being traced (ptrace)", who);
    look_at_limits(l->look, pid, who);
    look_at_namespaces(l, pid, who);
    look_at_files(pid, &l->sockets, l->look);
    return true;
}

struct summing {
    const struct mover_guest *guest;
    uint64_t bytes;
};

static bool add_memory(pid_t pid, void *context)
{
    struct summing *sum = context;

    if (is_inside(pid, sum->guest))
        sum->bytes += memory_of(pid);
    return true;
}

uint64_t mover_memory(const struct mover_guest *guest)
{
    struct summing sum = {.guest = guest};

    proc_each(add_memory, &sum);
    return sum.bytes;
}

static bool add_written(pid_t pid, void *context)
{
    struct summing *sum = context;

    if (is_inside(pid, sum->guest))
        sum->bytes += dirty_marked(pid);
    return true;
}

uint64_t mover_written(const struct mover_guest *guest)
{
    struct summing sum = {.guest = guest};

    proc_each(add_written, &sum);
    return sum.bytes;
}

int mover_look(const struct mover_guest *guest, struct look *ret, struct err *err)
{
    struct looking l = {.guest = guest, .look = ret};
    struct err obstacle;
    int r;

    if (proc_namespace(guest->pid, "pid") == 0)
        return err_set(err, -ESRCH, "guest %s does not run", guest->name);
    *ret = (struct look){0};
    r = mover_check(guest, &obstacle);
    if (r < 0)
        look_add(ret, r == -EBUSY ? "exec" : "node", true, "%s", obstacle.text);
    look_at_node(ret);
    proc_each(look_at_process, &l);
    look_at_unix(guest, &l.sockets, ret);
    free(l.sockets.inodes);
    ret->dirty_bytes_per_s = dirty_rate(l.pids, l.n_pids);
    look_at_what_it_wrote(guest, ret);
    return 0;
}

void mover_measure(const struct mover_guest *guest, struct look *ret)
{
    *ret = (struct look){.memory_bytes = mover_memory(guest)};
    look_at_what_it_wrote(guest, ret);
}
