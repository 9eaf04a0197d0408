/* guest: the contract of a guest kind, as the guard's cell executor drives it.
 *
 * Life: (image unpacked, network plugged) -> start -> running -> stop|kill -> gone. Calls block;
 * each runs in a child process of the executor. The guest's cgroups exist before start and outlive
 * every call.
 */
#ifndef SKEIN_AGENT_GUEST_GUEST_H
#define SKEIN_AGENT_GUEST_GUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "consensus/command.h"
#include "migrate/mover.h"

/* Where the volumes and files of this node's guests are; what begins with a dot there is being
 * removed. */
#define GUEST_VOLUMES "/var/lib/skein/volumes"
#define GUEST_FILES   "/var/lib/skein/guests"
#define GUEST_LOGS    "/var/log/skein/guests"
#define GUEST_MEMORY  "/run/skein/guests" /* on tmpfs */
#define GUEST_KEPT    "kept" /* in GUEST_FILES/NAME: they are its own again at its next start here */

enum {
    CPUS_TEXT_SIZE = 1280,             /* 256 numbers and commas */
    VOLUMES_NAME_SIZE = NAME_SIZE + 24 /* see guest_volumes_name() */
};

/* All that a kind needs to run one guest on this node; checked by the guard before it arrives. */
struct guest_run {
    struct guest_spec spec; /* owned */
    uint64_t created;       /* when the guest was: tells it from an earlier one of the same name */
    uint64_t epoch;
    uint8_t digest[DIGEST_SIZE]; /* of the image: names its unpacked root */
    uint32_t n_cores;
    uint16_t cores[MAX_GUEST_CORES]; /* isolated ones; none: the node's shared cores */
    uint32_t vni;                    /* 0 = no network */
    uint32_t ip;
    uint8_t prefix;
    uint16_t port; /* OpenFlow port, names the host side of its veth or tap */
    /* Of this machine, given by the executor, not encoded: the processors that its cores are, and
     * those that the system has for itself, as the kernel lists them. */
    uint16_t cpus[MAX_GUEST_CORES];
    char shared_cpus[CPUS_TEXT_SIZE];
};

/* Directories of one guest, all made by guest_paths_init from its name; `volumes` for a guest_run,
 * by guest_paths_of_run. */
struct guest_paths {
    char image_root[128]; /* /var/lib/skein/roots/DIGEST: read only, shared by guests */
    char upper[128];      /* /var/lib/skein/guests/NAME/upper: what the guest wrote */
    char work[128];       /* overlayfs' own */
    char merged[128];     /* /run/skein/guests/NAME/root: where its root is mounted */
    char log[128];        /* /var/log/skein/guests/NAME.log: stdout and stderr */
    char netns[128];      /* /run/skein/netns/NAME */
    char checkpoint[128]; /* /run/skein/guests/NAME/checkpoint: tmpfs, during a migration only */
    char snapshot[128];   /* /run/skein/guests/NAME/snapshot: of a protected guest */
    char volumes[128];    /* /var/lib/skein/volumes/NAME.CREATED: a directory each of its volumes */
};

struct guest_kind_ops {
    enum guest_kind kind;
    const char *name;
    bool can_exec, can_console;
    const struct mover_ops *mover; /* moves it while it runs; NULL: it cannot be moved */
    /* Starts it; ret_pid is its init, in the caller's pid namespace. The caller has joined the
     * guest's cgroups before, so the guest is in them from its first instruction, and whoever kills
     * or freezes those cgroups reaches a start under way as well. The init is a child of the caller
     * and goes to the caller's reaper when that ends; it is watched by pidfd, exits as the guest's
     * command does, with 128 + signal where that was killed. */
    int (*start)(const struct guest_run *run, const struct guest_paths *paths, pid_t *ret_pid,
                 struct err *err);
    /* Makes what a guest that moves here needs beyond its image and its slice's port, before the
     * mover brings it to life; clean_up removes it. */
    int (*prepare)(const struct guest_run *run, const struct guest_paths *paths, struct err *err);
    /* Asks it to end (SIGTERM to its init). */
    int (*terminate)(pid_t pid, struct err *err);
    /* Runs argv inside the guest with the three descriptors; ret_status as of waitpid. The caller
     * has joined the guest's cgroups, as for start. */
    int (*exec)(pid_t pid, const struct guest_run *run, char *const argv[], const int stdio[3],
                int *ret_status, struct err *err);
    /* Joins the two descriptors (in, out) to the guest's console until either ends. */
    int (*console)(const struct guest_paths *paths, const int stdio[2], struct err *err);
    /* Removes what start made, for a guest of which nothing runs any more; `keep_upper` leaves what
     * the guest wrote, and its log. */
    int (*clean_up)(const struct guest_paths *paths, bool keep_upper, struct err *err);
};

extern const struct guest_kind_ops guest_cell_ops, guest_lxc_ops, guest_vm_ops;

void guest_paths_init(struct guest_paths *paths, const char *name,
                      const uint8_t digest[DIGEST_SIZE]);
void guest_paths_of_run(struct guest_paths *paths, const struct guest_run *run);
/* What a mover is told of a guest of this node, but for its pid and its freezer; the strings are
 * those of `run` and `paths`. */
void guest_mover_init(struct mover_guest *ret, const struct guest_run *run,
                      const struct guest_paths *paths);
/* Name of the directory that holds a guest's volumes: NAME.CREATED, so that another guest of its
 * name finds nothing of it. */
void guest_volumes_name(char ret[VOLUMES_NAME_SIZE], const char *guest, uint64_t created);
void guest_run_deinit(struct guest_run *run);
void guest_run_encode(const struct guest_run *run, struct writer *w);
int guest_run_decode(struct reader *r, struct guest_run *ret);

#endif
