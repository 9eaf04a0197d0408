/* deadline: see the header. The programs are deadline_code_bpf.c's. */
#include "agent/guard/deadline_bpf.h"

#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guard/deadline_code_bpf.h"
#include "base/clean.h"
#include "base/limits.h"
#include "netfabric/run_posix.h"

enum { PATH_SIZE = DEADLINE_DIRECTORY_SIZE + 64, MAX_PROGRAM_MAPS = 2 };

static const char pin_deadline[] = "deadline", pin_exempt[] = "exempt";

/* ---- pins */

static void path_of(const struct deadline *d, const char *kind, const char *name, char *ret)
{
    snprintf(ret, PATH_SIZE, "%s/%s%.*s", d->directory, kind, IFNAMSIZ, name);
}

static int get_pin(const char *path)
{
    union bpf_attr attr = {.pathname = (uintptr_t)path};

    return bpf_call(BPF_OBJ_GET, &attr);
}

static int pin(int fd, const char *path, struct err *err)
{
    union bpf_attr attr = {.pathname = (uintptr_t)path, .bpf_fd = (uint32_t)fd};
    int rc = bpf_call(BPF_OBJ_PIN, &attr);

    return rc < 0 ? err_set(err, rc, "cannot pin %s: %s", path, strerror(-rc)) : 0;
}

static int info_of(int fd, void *ret_info, size_t size)
{
    union bpf_attr attr = {
        .info = {.bpf_fd = (uint32_t)fd, .info_len = (uint32_t)size, .info = (uintptr_t)ret_info}};

    return bpf_call(BPF_OBJ_GET_INFO_BY_FD, &attr);
}

/* ---- maps */

struct map_shape {
    enum bpf_map_type type;
    uint32_t key_size, value_size, max_entries, flags;
};

static const struct map_shape shape_deadline = {BPF_MAP_TYPE_ARRAY, sizeof(uint32_t),
                                                sizeof(uint64_t), 1, BPF_F_MMAPABLE};
static const struct map_shape shape_exempt = {BPF_MAP_TYPE_HASH, sizeof(struct deadline_exempt_key),
                                              1, MAX_NODE_GUESTS, 0};

static int make_map(const struct map_shape *shape, const char *path, struct err *err)
{
    union bpf_attr attr = {.map_type = shape->type,
                           .key_size = shape->key_size,
                           .value_size = shape->value_size,
                           .max_entries = shape->max_entries,
                           .map_flags = shape->flags,
                           .map_name = "skein"};
    cleanup_close int fd = bpf_call(BPF_MAP_CREATE, &attr);
    int rc;

    if (fd < 0)
        return err_set(err, fd, "the kernel makes no BPF map: %s", strerror(-fd));
    rc = pin(fd, path, err);
    return rc < 0 ? rc : steal_fd(&fd);
}

static bool has_shape(int fd, const struct map_shape *shape)
{
    struct bpf_map_info info = {0};

    return info_of(fd, &info, sizeof(info)) == 0 && info.type == shape->type &&
           info.key_size == shape->key_size && info.value_size == shape->value_size &&
           info.max_entries == shape->max_entries && info.map_flags == shape->flags;
}

/* The map that a guard before this one pinned, or a new one. One of another shape is from another
 * version: links still count on it until they get this version's programs. */
static int open_map(const struct deadline *d, const char *name, const struct map_shape *shape,
                    struct err *err)
{
    char path[PATH_SIZE];
    cleanup_close int fd = -1;

    path_of(d, "", name, path);
    fd = get_pin(path);
    if (fd >= 0 && has_shape(fd, shape))
        return steal_fd(&fd);
    if (fd < 0 && fd != -ENOENT)
        return err_set(err, fd, "cannot open %s: %s", path, strerror(-fd));
    unlink(path);
    return make_map(shape, path, err);
}

/* ---- links */

static int create_link(enum deadline_code code, int program_fd, unsigned index)
{
    union bpf_attr attr = {.link_create = {.prog_fd = (uint32_t)program_fd,
                                           .target_ifindex = index,
                                           .attach_type = BPF_XDP,
                                           .flags = XDP_FLAGS_SKB_MODE}};

    if (code == DEADLINE_UPLINK) {
        attr.link_create.attach_type = BPF_TCX_EGRESS;
        attr.link_create.flags = BPF_F_BEFORE; /* ahead of all others: none ends the chain before */
    }
    return bpf_call(BPF_LINK_CREATE, &attr);
}

static int update_link(int fd, int program_fd)
{
    union bpf_attr attr = {
        .link_update = {.link_fd = (uint32_t)fd, .new_prog_fd = (uint32_t)program_fd}};

    return bpf_call(BPF_LINK_UPDATE, &attr);
}

/* What makes two programs the same: their instructions, and the maps that these name. */
struct program {
    uint8_t tag[BPF_TAG_SIZE];
    uint32_t n_maps, maps[MAX_PROGRAM_MAPS]; /* ids */
};

static bool describe_program(int fd, struct program *ret)
{
    struct bpf_prog_info info = {.nr_map_ids = MAX_PROGRAM_MAPS, .map_ids = (uintptr_t)ret->maps};

    *ret = (struct program){0};
    if (info_of(fd, &info, sizeof(info)) < 0)
        return false;
    memcpy(ret->tag, info.tag, BPF_TAG_SIZE);
    ret->n_maps = info.nr_map_ids;
    return ret->n_maps <= MAX_PROGRAM_MAPS;
}

static bool has_program(int link_fd, int program_fd)
{
    struct bpf_link_info link = {0};
    union bpf_attr attr = {0};
    struct program has, wanted;
    cleanup_close int fd = -1;

    if (info_of(link_fd, &link, sizeof(link)) < 0)
        return false;
    attr.prog_id = link.prog_id;
    fd = bpf_call(BPF_PROG_GET_FD_BY_ID, &attr);
    return fd >= 0 && describe_program(fd, &has) && describe_program(program_fd, &wanted) &&
           memcmp(&has, &wanted, sizeof(has)) == 0;
}

/* The interface that a link is on; 0 when that is gone. */
static unsigned index_of_link(int fd, enum deadline_code code)
{
    struct bpf_link_info info = {0};

    if (info_of(fd, &info, sizeof(info)) < 0)
        return 0;
    return code == DEADLINE_PORT ? info.xdp.ifindex : info.tcx.ifindex;
}

static const char *kind_of(enum deadline_code code)
{
    return code == DEADLINE_PORT ? "port-" : "uplink-";
}

static bool is_linked(const char *path, enum deadline_code code, unsigned index)
{
    cleanup_close int fd = get_pin(path);

    return fd >= 0 && index_of_link(fd, code) == index;
}

static int attach(const struct deadline *d, enum deadline_code code, const char *interface,
                  struct err *err)
{
    unsigned index = if_nametoindex(interface);
    cleanup_close int fd = -1;
    char path[PATH_SIZE];

    if (index == 0)
        return err_set(err, -ENODEV, "there is no interface %s", interface);
    path_of(d, kind_of(code), interface, path);
    if (is_linked(path, code, index))
        return 0;
    unlink(path);
    fd = create_link(code, code == DEADLINE_PORT ? d->port_fd : d->uplink_fd, index);
    if (fd < 0)
        return err_set(err, fd, "the kernel puts no %s program on %s: %s",
                       code == DEADLINE_PORT ? "XDP" : "TCX", interface, strerror(-fd));
    return pin(fd, path, err);
}

/* Gives a pinned link this process's program, and forgets one whose interface is gone. An update
 * of an XDP link waits until the whole machine has left the old program, some 10 ms a port during
 * which guests stand still: the same program stays. */
static void renew(const struct deadline *d, enum deadline_code code, const char *name)
{
    int program_fd = code == DEADLINE_PORT ? d->port_fd : d->uplink_fd;
    cleanup_close int fd = -1;
    char path[PATH_SIZE];

    path_of(d, kind_of(code), name + strlen(kind_of(code)), path);
    fd = get_pin(path);
    if (fd < 0)
        return;
    if (index_of_link(fd, code) == 0 ||
        (!has_program(fd, program_fd) && update_link(fd, program_fd) < 0))
        unlink(path);
}

static void renew_links(const struct deadline *d)
{
    DIR *dir = opendir(d->directory);

    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        for (enum deadline_code code = DEADLINE_PORT; code <= DEADLINE_UPLINK; code++) {
            if (strncmp(e->d_name, kind_of(code), strlen(kind_of(code))) == 0)
                renew(d, code, e->d_name);
        }
    }
    if (dir != NULL)
        closedir(dir);
}

/* ---- the uplink of a kernel without TCX */

static int attach_by_tc(const struct deadline *d, const char *interface, struct err *err)
{
    char path[PATH_SIZE];
    const char *const qdisc[] = {"tc", "qdisc", "replace", "dev", interface, "clsact", NULL};
    const char *const filter[] = {
        "tc",     "filter", "replace", "dev",           interface,       "egress", "prio", "1",
        "handle", "1",      "bpf",     "direct-action", "object-pinned", path,     NULL};
    int rc;

    path_of(d, "program", "", path);
    unlink(path);
    rc = pin(d->uplink_fd, path, err);
    if (rc == 0)
        rc = run_program(qdisc, NULL, NULL, 0, err);
    if (rc == 0)
        rc = run_program(filter, NULL, NULL, 0, err);
    unlink(path);
    return rc;
}

/* ---- the contract */

static int map_deadline(struct deadline *d, struct err *err)
{
    void *at = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, d->deadline_fd, 0);

    if (at == MAP_FAILED)
        return err_set(err, -errno, "cannot map the deadline: %s", strerror(errno));
    madvise(at, sizeof(uint64_t), MADV_DONTFORK); /* no guest's affair */
    d->at_ns = at;
    return 0;
}

static int open_all(struct deadline *d, struct err *err)
{
    if (mkdir(d->directory, 0700) < 0 && errno != EEXIST)
        return err_set(err, -errno, "cannot make %s: %s (is a bpf file system mounted there?)",
                       d->directory, strerror(errno));
    d->deadline_fd = open_map(d, pin_deadline, &shape_deadline, err);
    if (d->deadline_fd < 0)
        return d->deadline_fd;
    d->exempt_fd = open_map(d, pin_exempt, &shape_exempt, err);
    if (d->exempt_fd < 0)
        return d->exempt_fd;
    d->port_fd = deadline_code_load(DEADLINE_PORT, d->deadline_fd, d->exempt_fd, err);
    if (d->port_fd < 0)
        return d->port_fd;
    d->uplink_fd = deadline_code_load(DEADLINE_UPLINK, d->deadline_fd, d->exempt_fd, err);
    return d->uplink_fd < 0 ? d->uplink_fd : map_deadline(d, err);
}

static void close_all(const struct deadline *d)
{
    const int fds[] = {d->deadline_fd, d->exempt_fd, d->port_fd, d->uplink_fd};

    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

int deadline_open(struct deadline *d, const char *directory, struct err *err)
{
    struct deadline fresh = {.deadline_fd = -1, .exempt_fd = -1, .port_fd = -1, .uplink_fd = -1};
    int rc;

    *d = (struct deadline){0};
    if (strlen(directory) >= sizeof(fresh.directory))
        return err_set(err, -ENAMETOOLONG, "%s: too long", directory);
    strcpy(fresh.directory, directory);
    rc = open_all(&fresh, err);
    if (rc < 0) {
        close_all(&fresh);
        return rc;
    }
    renew_links(&fresh);
    *d = fresh;
    return 0;
}

void deadline_close(struct deadline *d)
{
    if (d->at_ns == NULL)
        return;
    munmap((void *)d->at_ns, sizeof(*d->at_ns));
    close_all(d);
    *d = (struct deadline){0};
}

void deadline_set(const struct deadline *d, uint64_t boottime_ns)
{
    if (d->at_ns != NULL)
        __atomic_store_n(d->at_ns, boottime_ns, __ATOMIC_SEQ_CST);
}

void deadline_clear(const struct deadline *d)
{
    deadline_set(d, UINT64_MAX);
}

int deadline_attach_port(const struct deadline *d, const char *interface, struct err *err)
{
    return d->at_ns == NULL ? 0 : attach(d, DEADLINE_PORT, interface, err);
}

int deadline_detach_port(const struct deadline *d, const char *interface, struct err *err)
{
    char path[PATH_SIZE];

    if (d->at_ns == NULL)
        return 0;
    path_of(d, kind_of(DEADLINE_PORT), interface, path);
    if (unlink(path) < 0 && errno != ENOENT)
        return err_set(err, -errno, "cannot remove %s: %s", path, strerror(errno));
    return 0;
}

int deadline_attach_uplink(const struct deadline *d, const char *interface, struct err *err)
{
    int rc;

    if (d->at_ns == NULL)
        return 0;
    rc = d->is_without_tcx ? -EINVAL : attach(d, DEADLINE_UPLINK, interface, err);
    return rc == -EINVAL ? attach_by_tc(d, interface, err) : rc;
}

int deadline_exempt(const struct deadline *d, uint32_t vni, const uint8_t mac[MAC_SIZE],
                    bool is_exempt, struct err *err)
{
    struct deadline_exempt_key key = {
        .vni = {(uint8_t)(vni >> 16), (uint8_t)(vni >> 8), (uint8_t)vni}};
    uint8_t value = 1;
    union bpf_attr attr = {.map_fd = (uint32_t)d->exempt_fd,
                           .key = (uintptr_t)&key,
                           .value = is_exempt ? (uintptr_t)&value : 0};
    int rc;

    if (d->at_ns == NULL)
        return 0;
    memcpy(key.mac, mac, MAC_SIZE);
    rc = bpf_call(is_exempt ? BPF_MAP_UPDATE_ELEM : BPF_MAP_DELETE_ELEM, &attr);
    if (rc < 0 && !(rc == -ENOENT && !is_exempt))
        return err_set(err, rc, "cannot change who is exempt: %s", strerror(-rc));
    return 0;
}
