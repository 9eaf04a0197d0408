/* cgroup_v1: one hierarchy a controller.
 *
 * The freezer of v1 holds a killed process until it is thawed. So whoever is killed while a parent
 * is frozen is moved, with SIGKILL pending, into the thawed group skein/dying: it ends there before
 * it runs another instruction.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/guard/cgroup_version.h"

static bool has_option(const char *options, const char *name)
{
    size_t size = strlen(name);

    for (const char *p = options; p != NULL; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, name, size) == 0 && (p[size] == ',' || p[size] == '\0'))
            return true;
    }
    return false;
}

static void take_mount(struct cgroups *c, const char *mount, const char *type, const char *options)
{
    static const char *const controllers[] = {"freezer", "cpuset", "memory",
                                              "pids",    "cpu",    "cpuacct"};

    if (strcmp(type, "cgroup") != 0)
        return;
    for (int i = 0; i < CGROUP_MAX_ROOTS; i++) {
        struct cgroup_root *root;

        if (!has_option(options, controllers[i]))
            continue;
        for (int k = 0; k < c->n_roots; k++) {
            if (strcmp(c->roots[k].controller, controllers[i]) == 0)
                return; /* mounted twice */
        }
        if (c->n_roots == CGROUP_MAX_ROOTS)
            return;
        root = &c->roots[c->n_roots++];
        snprintf(root->mount, sizeof(root->mount), "%s", mount);
        snprintf(root->controller, sizeof(root->controller), "%s", controllers[i]);
        if (i == 0) { /* the freezer comes first */
            struct cgroup_root first = c->roots[0];

            c->roots[0] = *root;
            *root = first;
        }
        return;
    }
}

/* A v1 cpuset takes nobody in before it has processors and memory nodes; it has its parent's. */
static int fill_cpuset(const char *dir, const char *file, struct err *err)
{
    char parent[CGROUP_PATH_SIZE], text[512] = "";
    char *slash;
    int rc;

    rc = cgroup_read(dir, file, text, sizeof(text));
    if (rc == 0 && text[0] != '\0')
        return 0;
    snprintf(parent, sizeof(parent), "%s", dir);
    slash = strrchr(parent, '/');
    if (slash != NULL)
        *slash = '\0';
    rc = cgroup_read(parent, file, text, sizeof(text));
    if (rc == 0)
        rc = cgroup_write(dir, file, text);
    if (rc < 0)
        return err_set(err, rc, "cannot fill %s/%s: %s", dir, file, strerror(-rc));
    return 0;
}

static int prepare(struct cgroups *c, int i, const char *dir, struct err *err)
{
    int rc;

    if (strcmp(c->roots[i].controller, "cpuset") != 0)
        return 0;
    rc = fill_cpuset(dir, "cpuset.cpus", err);
    return rc < 0 ? rc : fill_cpuset(dir, "cpuset.mems", err);
}

static int set(const char *dir, const char *file, const char *text, struct err *err)
{
    int rc = cgroup_write(dir, file, text);

    if (rc < 0)
        return err_set(err, rc, "cannot write '%s' to %s/%s: %s", text, dir, file, strerror(-rc));
    return 0;
}

static int limit(struct cgroups *c, int i, const char *dir, const struct cgroup_limits *limits,
                 struct err *err)
{
    const char *controller = c->roots[i].controller;
    char text[32];
    int rc;

    if (strcmp(controller, "cpuset") == 0) {
        rc = set(dir, "cpuset.cpus", limits->cpus, err);
        return rc < 0 ? rc : fill_cpuset(dir, "cpuset.mems", err);
    }
    if (strcmp(controller, "memory") == 0) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)limits->memory_mib << 20);
        return set(dir, "memory.limit_in_bytes", text, err);
    }
    if (strcmp(controller, "pids") == 0) {
        snprintf(text, sizeof(text), "%d", GUEST_MAX_PIDS);
        return set(dir, "pids.max", text, err);
    }
    if (strcmp(controller, "cpu") == 0) {
        /* Its real-time budget stays 0: no guest competes with the lease thread. */
        snprintf(text, sizeof(text), "%u", 1024 * (limits->n_cores > 0 ? limits->n_cores : 1));
        return set(dir, "cpu.shares", text, err);
    }
    return 0;
}

static int kill_all(struct cgroups *c, const char *dir)
{
    char dying[CGROUP_PATH_SIZE], text[16];
    pid_t pids[CGROUP_MAX_PIDS];
    int n;

    cgroup_write(dir, "freezer.state", "FROZEN"); /* nothing forks away meanwhile */
    n = cgroup_pids(dir, pids, CGROUP_MAX_PIDS);
    for (int i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
    snprintf(dying, sizeof(dying), "%s/skein/dying", c->roots[0].mount);
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof(text), "%d", pids[i]);
        cgroup_write(dying, "cgroup.procs", text);
    }
    return n;
}

/* Controllers may share a hierarchy: each file is looked for in each. */
static void count(const char *dir, struct cgroup_counts *counts)
{
    uint64_t ns;

    if (cgroup_read_number(dir, "cpuacct.usage", &ns))
        counts->cpu_us = ns / 1000;
    cgroup_read_number(dir, "memory.usage_in_bytes", &counts->memory_bytes);
    cgroup_read_number(dir, "pids.current", &counts->n_tasks);
}

const struct cgroup_version cgroup_version_1 = {
    .name = "v1",
    .take_mount = take_mount,
    .prepare = prepare,
    .limit = limit,
    .freeze_file = "freezer.state",
    .frozen = "FROZEN",
    .thawed = "THAWED",
    .kill = kill_all,
    .count = count,
    .has_dying = true,
};
