/* job: what the guard asks its executors to do, and what comes back (pure codec). */
#ifndef SKEIN_AGENT_GUARD_JOB_H
#define SKEIN_AGENT_GUARD_JOB_H

#include "agent/guard/proto.h"

enum job_kind {
    /* of the cell executor: each in a process of its own */
    JOB_START = 1, /* run: -> pid */
    JOB_TERMINATE, /* run, pid */
    JOB_EXEC,      /* run, pid, argv, 3 fds -> status */
    JOB_LOOK,      /* run, pid, fd: a struct look is written there */
    JOB_CONSOLE,   /* run, pid, 3 fds */
    JOB_CLEAN_UP,  /* run, keep_upper */
    JOB_PREPARE, /* run, keep_upper -> room, of one that moves here: its image is there, and nothing
                  * of an earlier life but, with keep_upper, what was kept for this one */
    JOB_SURVEY,  /* run, pid, wish -> mode, which is not AUTO, copies_files: ready for CAPTURE, it
                  * runs on */
    JOB_COPY,    /* run, pid, wish, fd -> mode of CAPTURE, which goes on: it runs on */
    JOB_CAPTURE, /* run, pid, wish, fd -> bytes, frozen_us, handed_over_us, mode */
    JOB_STAND_BY, /* run: does what ACTIVATE would before the guest runs, once it is received */
    JOB_RECEIVE,  /* run, fd -> bytes, handed_over_us; pid, of a mover that is live */
    JOB_AWAIT_RESTORED, /* run: who stands by has done so, or cannot */
    JOB_ACTIVATE,       /* run -> pid; mode POST: its memory follows */
    JOB_AWAIT,          /* run: all of its memory is here */
    JOB_RESUME,         /* run, pid */
    JOB_DISCARD,        /* run, pid: files and leftovers of a mover */
    JOB_UNPACK,         /* digest, fd */
    JOB_DROP_IMAGE,     /* digest */
    JOB_CHECK,          /* run, pid, timeout_ms, port or argv */
    JOB_CHECKPOINT,     /* run, pid, since_us -> frozen_us, handed_over_us (it runs again), mode */
    JOB_SEND,           /* run, fd, digest of what it continues: what CHECKPOINT kept -> bytes */
    JOB_RESTORE,        /* run, digest, fd: RECEIVE of a kept checkpoint */
    JOB_RESET,          /* run: the other ends of its former connections */
    JOB_DROP_ASIDE,     /* volumes and guests' files that were set aside (aside_posix.h) */
    /* of the fabric executor: one after the other */
    JOB_SETUP,
    JOB_APPLY,  /* view */
    JOB_PLUG,   /* run */
    JOB_UNPLUG, /* run */
    JOB_PROBE,  /* done when the switch answers */
    JOB_WATCH,  /* ends when the switch has died; beside the others */
    JOB_KIND_END
};

struct job {
    uint32_t id; /* not 0 */
    enum job_kind kind;
    bool has_run;
    struct guest_run run; /* borrowed from its guest; owned where decoded */
    uint32_t pid;
    uint64_t start_time; /* of that pid: another process under its number is left alone */
    bool keep_upper;
    bool is_kept;   /* ACTIVATE: of a kept checkpoint */
    bool is_target; /* PREPARE: it moves here */
    uint8_t digest[DIGEST_SIZE];
    uint64_t since_us;     /* CHECKPOINT */
    struct mode_wish wish; /* SURVEY, COPY, CAPTURE */
    uint32_t timeout_ms;   /* CHECK */
    uint16_t port;         /* CHECK: 0 = argv */
    uint32_t n_argv;
    char **argv; /* as `run`; NULL-terminated */
    bool has_view;
    struct fabric_view view; /* as `run` */
    int fds[GUARD_MAX_FDS];  /* the packet's */
};

struct job_result {
    uint32_t id; /* 0: no job; process `pid` has ended with `status` */
    int code;
    char text[ERR_TEXT_SIZE];
    uint32_t pid;
    int32_t status; /* exit code, or 128 + signal */
    uint64_t bytes, frozen_us, handed_over_us;
    enum move_mode mode;
    bool copies_files;     /* SURVEY: COPY is worth it, in any mode */
    struct node_room room; /* PREPARE */
};

void job_init(struct job *job);
/* Only of a decoded job. Descriptors stay open. */
void job_deinit(struct job *job);
void job_encode(const struct job *job, struct writer *w);
int job_decode(const void *data, size_t size, struct job *ret);
/* How it ended: `rc`, and the words of a failure. */
void job_result_end(struct job_result *ret, int rc, const struct err *err);
void job_result_encode(const struct job_result *result, struct writer *w);
int job_result_decode(const void *data, size_t size, struct job_result *ret);
const char *job_kind_name(enum job_kind kind);

#endif
