/* work: the guard's work thread: what skeind asks for, one operation of a guest at a time (shell).
 *
 * A request becomes an operation: a list of steps that run one after the other. A step that needs
 * an executor hands it a job and the operation goes on with its result. When a step fails, the
 * operation's undo steps run, and the request is answered with the first error.
 *
 * Files: work_posix.c (loop, connections, answers), operation_posix.c (the engine), request_posix.c
 * (what is checked before anything is done), steps_run_posix.c (start, stop, exit),
 * steps_beside_posix.c (commands in guests, looks, images), steps_move_posix.c and
 * steps_source_posix.c (migration),
 * steps_protect_posix.c (checkpoints), steps_volumes_posix.c (volumes that are no longer wanted),
 * steps_fabric_posix.c (the switch and its death),
 * adopt_posix.c (a guard's restart).
 */
#ifndef SKEIN_AGENT_GUARD_WORK_POSIX_H
#define SKEIN_AGENT_GUARD_WORK_POSIX_H

#include "agent/guard/cgroup.h"
#include "agent/guard/cpus.h"
#include "agent/guard/executor_posix.h"
#include "agent/guard/guests_posix.h"
#include "agent/guard/lease_thread_posix.h"
#include "agent/guard/roster_posix.h"

enum {
    WORK_MAX_CLIENTS = 8,
    WORK_MAX_OPERATIONS = 512,
    WORK_MAX_EXITS = 64, /* ends of processes that no guest is known by yet */
    WORK_POLL_US = 3000, /* while processes die, and cgroups get empty */
    WORK_KILL_US = 10000000,
};

struct work;

enum step {
    STEP_NEXT,  /* done */
    STEP_JOB,   /* a job runs: its result decides */
    STEP_AGAIN, /* call again at op->wake_us, or when a job ends */
    STEP_FAIL,  /* op->err says why */
};

typedef enum step (*step_fn)(struct work *work, struct operation *op);

struct operation {
    struct local_guest *guest; /* NULL: of no guest */
    struct guard_request request;
    uint32_t client;             /* who is answered; 0 = nobody */
    const step_fn *steps, *undo; /* NULL-terminated; undo may be NULL */
    size_t at;
    bool undoing;
    bool has_begun; /* it has changed something that its undo steps may take back */
    bool is_soft;   /* its job may fail: that is said and passed over */
    uint32_t job;   /* that runs for it; 0 = none */
    struct job_result result;
    bool is_copied_first; /* CAPTURE: its files, or its memory, while it runs */
    uint64_t begun_us;    /* its first step */
    uint64_t wake_us;     /* UINT64_MAX = only a job's end */
    uint64_t until_us;    /* a step's own limit; 0 at its first call */
    bool awaits_switch;   /* woken when the switch is set up, or shows a newer view */
    uint32_t round;       /* of the last try to run it while blocked */
    struct guard_reply reply;
    struct err err;                    /* the first failure */
    struct operation *next_waiting;    /* behind the guest's current one */
    struct operation *previous, *next; /* of all that run or wait */
};

struct work_config {
    const char *run_dir, *log_dir;
    struct cgroups *cgroups;
    struct domains *domains; /* NULL = none */
    struct roster *roster;
    struct cpus cpus;
    struct executor cells, fabric;
    struct lease_thread *lease;
    int lease_event_fd;
    int listen_fd;
    int signal_fd;               /* SIGTERM, SIGINT: an orderly end */
    uid_t user;                  /* who may connect, besides root … */
    uint8_t key[GUARD_KEY_SIZE]; /* … and say this */
    struct guard_hello hello;
};

struct client {
    uint32_t id; /* 0 = free */
    int fd;
    bool said_hello;
};

struct work {
    struct work_config config;
    struct guests guests;
    struct operation *operations;
    uint32_t n_operations;
    uint32_t last_job, last_client, round;
    struct client clients[WORK_MAX_CLIENTS];
    struct job_result exits[WORK_MAX_EXITS]; /* a ring */
    uint32_t n_exits;
    int epoll_fd;
    bool has_news;             /* a LIST event is due */
    bool was_lapsed;           /* as last told */
    uint32_t n_setup_failures; /* of the switch, one after the other */
    bool is_switch_up;         /* set up, and not seen to die since */
    bool has_view;
    struct fabric_view view; /* the last that was applied: again after the switch died */
    uint8_t packet[GUARD_PACKET_MAX];
};

/* ---- work_posix.c */
/* Serves until a signal asks for the end. Negative errno: an executor died, or the like. */
int work_run(struct work *work, struct err *err);
int work_init(struct work *work, const struct work_config *config, struct err *err);
void work_answer(struct work *work, uint32_t client, struct guard_reply *reply);
/* Watches the guest's init through a pidfd. */
int work_watch_guest(struct work *work, struct local_guest *guest, struct err *err);
/* Whether the process has ended already, and how. */
bool work_take_exit(struct work *work, uint32_t pid, int32_t *ret_status);

/* ---- operation_posix.c */
/* Takes the request; answers -EBUSY itself where there is no room. */
void operation_begin(struct work *work, struct guard_request *request, uint32_t client,
                     const step_fn *steps, const step_fn *undo, const char *guest);
/* Hands a job to an executor: STEP_JOB, or STEP_AGAIN while it is full. Fills in id, run and pid of
 * the operation's guest. */
enum step operation_job(struct work *work, struct operation *op, struct executor *executor,
                        struct job *job);
/* One that says no more than its kind. */
enum step operation_plain_job(struct work *work, struct operation *op, struct executor *executor,
                              enum job_kind kind);
enum step operation_fail(struct operation *op, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Calls the step again after `us`. */
enum step operation_again(struct operation *op, uint64_t us);
/* Calls the step again when something of the switch has changed, or at op->until_us, which is set
 * `limit_us` from its first call. */
enum step operation_await_switch(struct operation *op, uint64_t limit_us);
/* Leaves out the steps that are left. */
enum step step_to_end(struct operation *op);
void operation_result(struct work *work, struct executor *executor,
                      const struct job_result *result);
void operations_wake(struct work *work, uint64_t now);
void operations_switch_changed(struct work *work);
uint64_t operations_next_wake(const struct work *work);
/* The guest's init has ended, or its copy was destroyed by a lift: does what is due unless an
 * operation is at it (then when that ends). True: it began; the guest may be freed already. */
bool operations_look_after(struct work *work, struct local_guest *guest);

/* ---- request_posix.c */
void request_begin(struct work *work, struct guard_request *request, uint32_t client);
/* Writes the guest's record; a failure is the operation's. */
enum step save_record(struct work *work, struct operation *op);

/* ---- steps_run_posix.c */
extern const step_fn steps_start[], undo_start[], steps_stop[], steps_exit[], steps_destroy[],
    steps_end[], steps_freeze[], steps_thaw[], steps_fail[];
/* Shared with steps_move_posix.c and steps_protect_posix.c. Whether the run may start now, and then
 * it is this guest's: needs a live lease. */
enum step step_start_check(struct work *work, struct operation *op);
/* The copy that the request means is here: -ENOENT, -ESTALE. */
enum step check_copy(struct operation *op);
/* What the codec cannot know of START's and PREPARE's run. */
enum step check_run(struct operation *op);
enum step step_make_cgroup(struct work *work, struct operation *op);
enum step step_plug(struct work *work, struct operation *op);
enum step step_unplug(struct work *work, struct operation *op);
enum step step_take_pid(struct work *work, struct operation *op);
enum step step_undo(struct work *work, struct operation *op); /* first of an undo list */
enum step step_port_up(struct work *work, struct operation *op);
enum step step_kill(struct work *work, struct operation *op);
enum step step_clean_up(struct work *work, struct operation *op);
enum step step_remove_cgroup(struct work *work, struct operation *op);
enum step step_forget(struct work *work, struct operation *op);
enum step step_let_run(struct work *work, struct operation *op);
/* Makes the guest's own freezer follow its record, and its domain. */
int guest_follow_freezer(struct work *work, struct local_guest *guest, struct err *err);

/* ---- steps_beside_posix.c */
extern const step_fn steps_exec[], steps_console[], steps_look[], steps_logs[], steps_stats[],
    steps_check[], steps_send[], steps_unpack[], steps_drop_image[];
/* A job of a guest that runs, beside its operations. */
enum step job_beside(struct work *work, struct operation *op, enum job_kind kind);

/* ---- steps_move_posix.c */
extern const step_fn steps_prepare[], undo_prepare[], steps_receive[], steps_activate[],
    undo_activate[], steps_discard[], steps_clear[], steps_lost[], steps_await[];
/* A file below its checkpoint directory, by its name there (migrate/mover.h). */
enum { MOVER_FILE_SIZE = 256 };
void guest_mover_file(const struct local_guest *guest, const char *name, char ret[MOVER_FILE_SIZE]);
/* Shared with steps_source_posix.c: a job of the guest's mover, and what one has to report. */
enum step step_move_job(struct work *work, struct operation *op, enum job_kind kind);
void operation_report(struct operation *op);

/* ---- steps_source_posix.c */
extern const step_fn steps_capture[], undo_capture[], steps_resume[], steps_progress[];

/* ---- steps_protect_posix.c */
extern const step_fn steps_checkpoint[], steps_restore[];

/* ---- steps_volumes_posix.c */
extern const step_fn steps_keep_volumes[];

/* ---- steps_fabric_posix.c */
extern const step_fn steps_fabric[];
/* Sets the switch up and keeps it so. */
void fabric_begin(struct work *work);

/* ---- adopt_posix.c */
/* After a restart: takes up what lives, ends what no record names. Everything is frozen meanwhile.
 */
int adopt_guests(struct work *work, struct err *err);

#endif
