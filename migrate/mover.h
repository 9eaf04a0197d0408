/* mover: the contract of whatever moves a running guest (mover_criu.c;
 * agent/guest/vm_mover_posix.c).
 *
 * Source: copy() may send a guest's memory while it runs, capture() writes the frozen guest to a
 * descriptor. Target: prepare() builds what it will live in, receive() takes the stream and
 * verifies it, activate() brings it to life. Calls block; each runs in a child process of the
 * guard's cell executor. The descriptors are plaintext pipes or sockets; whoever made them seals
 * them.
 */
#ifndef SKEIN_MIGRATE_MOVER_H
#define SKEIN_MIGRATE_MOVER_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/move.h"
#include "base/volume.h"
#include "migrate/look.h"

struct guest_run;
enum { CHECKPOINT_FREEZE_MS = 2000 };

/* Where a guest lives on this node; paths are those of agent/guest/guest.h. */
struct mover_guest {
    const char *name;
    pid_t pid;              /* its init; 0 before activate */
    const char *image_root; /* read-only lower layer */
    const char *upper;
    const char *work;
    const char *merged; /* the mount point of its root */
    const char *netns;
    const char *checkpoint; /* directory for image files, on tmpfs */
    const char *snapshot;   /* likewise, of the guest as checkpoint() kept it */
    const char *log;
    const char *volumes_directory; /* holds a directory for each of them, by its name */
    uint32_t n_volumes;
    const struct volume *volumes;
    const char *freezer;         /* directory of its cgroup that freezes */
    const struct guest_run *run; /* for a mover that belongs to one kind of guest */
    uint32_t ip;                 /* 0 = no network */
    bool has_console;            /* a terminal of the node is its /dev/console (console_criu.h) */
    const char *terminal;        /* activate, of such a guest: the one that takes its place */
    pid_t keeper; /* capture, of such a guest: who holds the other end of its terminal */
    bool is_kept; /* activate: of a kept checkpoint, its connections come back closed */
};

/* How the source is to hand it over. */
struct mover_order {
    enum move_mode mode;    /* STOP or POST; PRE, of a mover that copies live */
    uint32_t post_after;    /* PRE: rounds of it before POST; 0 = no POST */
    uint32_t last_round_ms; /* PRE: what is left when it stops may take so long */
    uint32_t rate_kbps;     /* the stream takes no more; 0 = no limit */
    uint32_t connections;   /* PRE, of a machine: that its memory crosses by; at least 1 */
    uint32_t link_kbps;     /* at which it will cross, as far as is known */
    /* Called right before the guest is frozen, and nobody reaches it any more on return: its kernel
     * would answer for it. NULL: it has no port; a mover that copies live leaves it open. */
    int (*close_port)(void *context, struct err *err);
    void *context;
};

/* Below the guest's checkpoint directory while it is captured: see progress_posix.h. */
#define MOVER_PROGRESS "/progress"
/* There at the target once whoever stood by has restored all of it, connections too: activate only
 * lets it go. */
#define MOVER_RESTORED "/restored"

/* Puts the calling process into the guest's cgroups. */
struct mover_join {
    int (*call)(void *context, struct err *err);
    void *context;
};

struct mover_report {
    pid_t pid;      /* target, of a mover that is live: the guest's init, which is there already */
    uint64_t bytes; /* that crossed the descriptor */
    uint64_t total_bytes; /* source: what the guest's processes held */
    uint32_t round;       /* likewise, of pre-copy: the one in which it stood still; 0 = none */
    uint64_t frozen_us;   /* CLOCK_BOOTTIME when the guest stopped running, source side; 0 else */
    uint64_t handed_over_us; /* the whole state is out (source) or verified (target) */
    enum move_mode mode;     /* as it was done; the target knows only STOP and POST */
};

struct mover_ops {
    const char *name;
    /* The guest runs, and is reached, while capture copies: it stands still at the end only. */
    bool is_live;
    /* Can it be moved at all? 0, or a negative errno and the reason. */
    int (*check)(const struct mover_guest *guest, struct err *err);
    /* Everything that speaks for or against moving it, found without touching it. Only for a guest
     * that runs: -ESRCH. */
    int (*look)(const struct mover_guest *guest, struct look *ret, struct err *err);
    /* Source, cheap: fills of `ret` what it would bring along: memory, files, volumes, shm, and
     * stages_memory. Only for a guest that runs. NULL: nobody asks for its room. */
    void (*measure)(const struct mover_guest *guest, struct look *ret);
    /* Source, right before capture, which relies on it: all that can be done while the guest runs,
     * and check. 1: its files are worth a copy() at that rate. NULL: this mover needs no such
     * thing. */
    int (*ready)(const struct mover_guest *guest, uint32_t link_kbps, struct err *err);
    /* Source, of a guest that runs on: its files where that is worth it, in passes, and in mode PRE
     * its memory, in rounds, as the beginning of the stream that capture, by a later call and with
     * the same `fd`, goes on with, in the mode that `ret` has (of PRE that or POST). On failure
     * nothing of it stays. NULL: this mover cannot, or copies live by itself. */
    int (*copy)(const struct mover_guest *guest, int fd, const struct mover_order *order,
                struct mover_report *ret, struct err *err);
    /* Freezes the guest (it stays frozen on return), writes its memory, its upper layer and its
     * volumes. On failure the guest runs again as before. POST: most of its memory is not written,
     * and a process goes on giving it out over `fd`, until resume or discard; of a mover that is
     * live that process is the guest's own, which then stands still without being frozen. */
    int (*capture)(const struct mover_guest *guest, int fd, const struct mover_order *order,
                   struct mover_report *ret, struct err *err);
    /* Target, before the rest is prepared, of a mover that is live: starts who receives the guest
     * and is its init then, in its cgroups, and returns without waiting for them to be ready. They
     * are killed with the cgroups. NULL: receive needs nobody. */
    int (*expect)(const struct mover_guest *guest, const struct mover_join *join, struct err *err);
    /* Before receive: has somebody stand by, who does what activate would as soon as all has been
     * received, up to where the guest's own code would run; discard takes it back. Its port is
     * down. The caller has joined the guest's cgroups. It may fail, or be left out: then activate
     * does all. NULL: this mover cannot. */
    int (*stand_by)(const struct mover_guest *guest, struct err *err);
    /* Of a guest that was received: returns when who stands by has restored all of it, or cannot
     * (1; 0). NULL: as stand_by. */
    int (*await_restored)(const struct mover_guest *guest, struct err *err);
    /* Reads what capture wrote and checks its digest. On failure nothing of it stays. */
    int (*receive)(const struct mover_guest *guest, int fd, struct mover_report *ret,
                   struct err *err);
    /* Restores; ret_pid is its init, which is not the caller's child. The caller has joined the
     * guest's cgroups before, so the guest is in them when it runs, which it does on return. Its
     * port comes up after that: before, the kernel would answer for connections that are not there
     * yet, with a reset. 1: its memory is still on its way, see await. -EOWNERDEAD: it had ended
     * before; nothing of it ran, and nothing of its source's was asked for. */
    int (*activate)(const struct mover_guest *guest, pid_t *ret_pid, struct err *err);
    /* Target, of a guest that runs: returns when all of its memory is here. -EREMOTEIO: it will not
     * come, and the guest was killed. A process of the mover's own does the work, so this may be
     * called late, again, or by a later run of the guard. */
    int (*await)(const struct mover_guest *guest, struct err *err);
    /* Source: after an abort. Undoes what capture changed (network lock, checkpoint); the guest is
     * thawed by the caller. */
    int (*resume)(const struct mover_guest *guest, struct err *err);
    /* Down to reset_peers: NULL where the mover keeps no checkpoints.
     * Keeps it as it is now, in `snapshot`, and lets it go on; frozen from frozen_us until
     * handed_over_us, at most CHECKPOINT_FREEZE_MS and the moment that it takes criu to let go:
     * what would take longer is given up (-ETIME), or refused (-EFBIG). `since_us`: the frozen_us
     * of the one that its buddy is known to hold; 0: of none. Mode PRE: of memory it has only what
     * was written since that (increment.h); STOP: it is whole. */
    int (*checkpoint)(const struct mover_guest *guest, uint64_t since_us, struct mover_report *ret,
                      struct err *err);
    /* Writes what checkpoint() kept, as a stream of capture()'s kind, and removes it. `since`: of
     * one in mode PRE the digest by which the buddy has what it continues; else zeroes. */
    int (*send)(const struct mover_guest *guest, int fd, const uint8_t since[DIGEST_SIZE],
                struct mover_report *ret, struct err *err);
    /* receive() of such a stream out of a file, which must be the one with this digest. */
    int (*receive_kept)(const struct mover_guest *guest, int fd, const uint8_t digest[DIGEST_SIZE],
                        struct mover_report *ret, struct err *err);
    /* Has the other ends of connections that the checkpoint knew give them up; once its port is up.
     * Joins the guest's network namespace for good. */
    int (*reset_peers)(const struct mover_guest *guest, struct err *err);
    /* Either side, also after an activate that succeeded: removes checkpoint files and leftovers.
     */
    int (*discard)(const struct mover_guest *guest, struct err *err);
};

extern const struct mover_ops mover_criu_ops;

#endif
