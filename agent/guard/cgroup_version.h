/* cgroup_version: what cgroup.c shares with cgroup_v1.c and cgroup_v2.c; nobody else includes it.
 */
#ifndef SKEIN_AGENT_GUARD_CGROUP_VERSION_H
#define SKEIN_AGENT_GUARD_CGROUP_VERSION_H

#include "agent/guard/cgroup.h"

enum { CGROUP_MAX_ROOTS = 6, CGROUP_ROOT_SIZE = 96, GUEST_MAX_PIDS = 4096 };

struct cgroup_root {
    char mount[CGROUP_ROOT_SIZE];
    char controller[16]; /* v1: what it is mounted for */
};

struct cgroup_version {
    const char *name;
    /* Fills roots[] (the freezer first) from a line of /proc/self/mounts. */
    void (*take_mount)(struct cgroups *c, const char *mount, const char *type, const char *options);
    /* After mkdir of roots[i]'s `dir`, whose parent stands and is prepared. */
    int (*prepare)(struct cgroups *c, int i, const char *dir, struct err *err);
    int (*limit)(struct cgroups *c, int i, const char *dir, const struct cgroup_limits *limits,
                 struct err *err);
    const char *freeze_file, *frozen, *thawed;
    int (*kill)(struct cgroups *c, const char *dir);
    /* Adds what is counted in roots[i]'s `dir`. */
    void (*count)(const char *dir, struct cgroup_counts *counts);
    bool has_dying;
};

struct cgroups {
    const struct cgroup_version *version;
    int n_roots;
    struct cgroup_root roots[CGROUP_MAX_ROOTS];
    int parent_fd; /* freeze_file of skein/guests */
};

extern const struct cgroup_version cgroup_version_1, cgroup_version_2;

/* Small file access, shared: one system call each way, no buffer that lives on. */
int cgroup_write(const char *dir, const char *file, const char *text);
int cgroup_read(const char *dir, const char *file, char *ret, size_t size);
/* A number alone in a file; false when there is none. */
bool cgroup_read_number(const char *dir, const char *file, uint64_t *ret);
/* Reads cgroup.procs; returns the number of pids put into ret (at most max), negative errno. */
int cgroup_pids(const char *dir, pid_t *ret, int max);

#endif
