/* cgroup_v2: one hierarchy. Its freezer lets SIGKILL through. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/guard/cgroup_version.h"
#include "base/clean.h"

static const char *const controllers[] = {"cpuset", "memory", "pids", "cpu"};

static void take_mount(struct cgroups *c, const char *mount, const char *type, const char *options)
{
    (void)options;
    if (strcmp(type, "cgroup2") != 0 || c->n_roots > 0)
        return;
    c->n_roots = 1;
    snprintf(c->roots[0].mount, sizeof(c->roots[0].mount), "%s", mount);
    snprintf(c->roots[0].controller, sizeof(c->roots[0].controller), "unified");
}

/* The parent hands on what it has; a controller that is not there limits nothing. */
static int prepare(struct cgroups *c, int i, const char *dir, struct err *err)
{
    char text[16];

    (void)err;
    for (size_t k = 0; k < sizeof(controllers) / sizeof(controllers[0]); k++) {
        snprintf(text, sizeof(text), "+%s", controllers[k]);
        cgroup_write(c->roots[i].mount, "cgroup.subtree_control", text);
        cgroup_write(dir, "cgroup.subtree_control", text);
    }
    return 0;
}

/* A controller that this machine lacks is no error; one that refuses the value is. */
static int set(const char *dir, const char *file, const char *text, struct err *err)
{
    int rc = cgroup_write(dir, file, text);

    if (rc < 0 && rc != -ENOENT)
        return err_set(err, rc, "cannot write '%s' to %s/%s: %s", text, dir, file, strerror(-rc));
    return 0;
}

static int limit(struct cgroups *c, int i, const char *dir, const struct cgroup_limits *limits,
                 struct err *err)
{
    char memory[32], pids[16], weight[16];
    unsigned int weight_value = 100 * (limits->n_cores > 0 ? limits->n_cores : 1);
    int rc;

    (void)c, (void)i;
    snprintf(memory, sizeof(memory), "%llu", (unsigned long long)limits->memory_mib << 20);
    snprintf(pids, sizeof(pids), "%d", GUEST_MAX_PIDS);
    snprintf(weight, sizeof(weight), "%u", weight_value < 10000 ? weight_value : 10000);
    rc = set(dir, "cpuset.cpus", limits->cpus, err);
    if (rc == 0)
        rc = set(dir, "memory.max", memory, err);
    if (rc == 0)
        rc = set(dir, "pids.max", pids, err);
    return rc < 0 ? rc : set(dir, "cpu.weight", weight, err);
}

/* Before Linux 5.14, by system calls alone; also in groups below, which liblxc makes. */
static int kill_each(const char *dir)
{
    _Alignas(struct dirent64) char entries[2048];
    cleanup_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char below[CGROUP_PATH_SIZE];
    pid_t pids[CGROUP_MAX_PIDS];
    int n = cgroup_pids(dir, pids, CGROUP_MAX_PIDS);
    ssize_t size;

    for (int i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
    while (n >= 0 && fd >= 0 && (size = getdents64(fd, entries, sizeof(entries))) > 0) {
        for (ssize_t at = 0; at < size;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            int killed = 0;

            at += entry->d_reclen;
            if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
                snprintf(below, sizeof(below), "%s/%s", dir, entry->d_name) < (int)sizeof(below))
                killed = kill_each(below);
            n += killed > 0 ? killed : 0;
        }
    }
    return n;
}

static int kill_all(struct cgroups *c, const char *dir)
{
    char events[128];
    int rc = cgroup_read(dir, "cgroup.events", events, sizeof(events));

    (void)c;
    if (rc < 0 || strstr(events, "populated 1") == NULL)
        return rc;
    return cgroup_write(dir, "cgroup.kill", "1") == 0 ? 1 : kill_each(dir);
}

static void count(const char *dir, struct cgroup_counts *counts)
{
    char text[512];
    unsigned long long us;

    if (cgroup_read(dir, "cpu.stat", text, sizeof(text)) == 0 &&
        sscanf(text, "usage_usec %llu", &us) == 1)
        counts->cpu_us = us;
    cgroup_read_number(dir, "memory.current", &counts->memory_bytes);
    cgroup_read_number(dir, "pids.current", &counts->n_tasks);
}

const struct cgroup_version cgroup_version_2 = {
    .name = "v2",
    .take_mount = take_mount,
    .prepare = prepare,
    .limit = limit,
    .freeze_file = "cgroup.freeze",
    .frozen = "1",
    .thawed = "0",
    .kill = kill_all,
    .count = count,
};
