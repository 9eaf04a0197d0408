/* cgroup: the groups that hold guests, on cgroup v1 or v2, whichever this machine has (shell).
 *
 *     skein/guests/NAME   frozen all together through their parent when the lease ends
 *     skein/stay/NAME     guests with failover=stay: out of that parent's reach
 *     skein/dying         v1 only: where killed processes end that a frozen parent would hold
 *
 * Groups stand at the top of each hierarchy as this process sees it, outside the group of the
 * service that runs the guard: a guest outlives the guard. What freezes and kills needs nothing but
 * system calls and may be used by the lease thread; nothing here allocates after cgroups_open().
 */
#ifndef SKEIN_AGENT_GUARD_CGROUP_H
#define SKEIN_AGENT_GUARD_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum { CGROUP_PATH_SIZE = 256, CGROUP_MAX_PIDS = 4096 };

struct cgroups;

struct cgroup_limits {
    uint32_t memory_mib;
    const char *cpus; /* the kernel's list format: "0,2,3" */
    uint32_t n_cores; /* weight of its processor time */
};

/* CGROUP_UNKNOWN for what this machine does not count. */
#define CGROUP_UNKNOWN UINT64_MAX
struct cgroup_counts {
    uint64_t cpu_us;                /* used since the group was made */
    uint64_t memory_bytes, n_tasks; /* now */
};

/* Finds out what there is and makes skein/guests, skein/stay. -ENOTSUP without a freezer. */
int cgroups_open(struct cgroups **ret, struct err *err);
void cgroups_close(struct cgroups *c);
/* "v1: freezer cpuset memory pids cpu", for the log. */
void cgroups_describe(const struct cgroups *c, char *ret, size_t size);

/* Freezes or thaws all of skein/guests: one write to a file that stays open. */
int cgroups_set_frozen(struct cgroups *c, bool is_frozen);

int cgroup_make(struct cgroups *c, const char *name, bool stays, const struct cgroup_limits *limits,
                struct err *err);
/* Moves the calling process in; where the group is frozen, it stops within. */
int cgroup_enter(struct cgroups *c, const char *name, bool stays, struct err *err);
/* The guest's own freezer: reasons "user" and "migration". */
int cgroup_set_frozen(struct cgroups *c, const char *name, bool stays, bool is_frozen,
                      struct err *err);
/* Sends SIGKILL to all that is in the group, so that none of it runs another instruction, frozen or
 * not. Returns the number of processes that were seen: call it again until 0; negative errno. The
 * group may be left frozen. */
int cgroup_kill(struct cgroups *c, const char *name, bool stays);
/* 0 also when there is none; -EBUSY while something dies in it. */
int cgroup_remove(struct cgroups *c, const char *name, bool stays);
bool cgroup_has(struct cgroups *c, const char *name, bool stays, pid_t pid);
void cgroup_count(const struct cgroups *c, const char *name, bool stays, struct cgroup_counts *ret);
/* Directory that freezes the guest. */
void cgroup_freezer_path(const struct cgroups *c, const char *name, bool stays, char *ret,
                         size_t size);
/* Calls `each` for every guest group that stands. */
void cgroups_list(struct cgroups *c, void (*each)(void *context, const char *name, bool stays),
                  void *context);

#endif
