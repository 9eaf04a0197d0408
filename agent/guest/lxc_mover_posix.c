/* lxc_mover: moves a container by liblxc as a cell is moved (migrate/mover_criu.h): what CRIU dumps
 * begins at the container's own first process; skein-lxc and liblxc's monitor stay, frozen with it.
 * Where it goes on another skein-lxc restores it, and keeps it. See lxc.h.
 */
#include <errno.h>

#include "agent/guest/keeper_posix.h"
#include "agent/guest/lxc.h"
#include "migrate/mover_criu.h"
#include "migrate/proc_criu.h"

/* ---- source */

/* The guest as the CRIU mover is to see it where it runs. */
static int see_inside(const struct mover_guest *guest, struct mover_guest *ret, struct err *err)
{
    *ret = *guest;
    ret->has_console = true;
    ret->keeper = guest->pid;
    return lxc_find_init(guest->pid, &ret->pid, err);
}

static int check(const struct mover_guest *guest, struct err *err)
{
    struct mover_guest inside;
    int rc = see_inside(guest, &inside, err);

    return rc < 0 ? rc : mover_check(&inside, err);
}

static int look(const struct mover_guest *guest, struct look *ret, struct err *err)
{
    struct mover_guest inside;
    int rc = see_inside(guest, &inside, err);

    return rc < 0 ? rc : mover_look(&inside, ret, err);
}

static void measure(const struct mover_guest *guest, struct look *ret)
{
    struct mover_guest inside;
    struct err err;

    *ret = (struct look){0};
    if (see_inside(guest, &inside, &err) == 0)
        mover_measure(&inside, ret);
}

static int ready(const struct mover_guest *guest, uint32_t link_kbps, struct err *err)
{
    struct mover_guest inside;
    int rc = see_inside(guest, &inside, err);

    return rc < 0 ? rc : mover_ready(&inside, link_kbps, err);
}

static int copy(const struct mover_guest *guest, int fd, const struct mover_order *order,
                struct mover_report *ret, struct err *err)
{
    struct mover_guest inside;
    int rc = see_inside(guest, &inside, err);

    return rc < 0 ? rc : mover_copy(&inside, fd, order, ret, err);
}

static int capture(const struct mover_guest *guest, int fd, const struct mover_order *order,
                   struct mover_report *ret, struct err *err)
{
    struct mover_guest inside;
    int rc = see_inside(guest, &inside, err);

    return rc < 0 ? rc : mover_capture(&inside, fd, order, ret, err);
}

static int checkpoint(const struct mover_guest *guest, uint64_t since_us, struct mover_report *ret,
                      struct err *err)
{
    struct mover_guest inside;
    int rc = see_inside(guest, &inside, err);

    return rc < 0 ? rc : mover_checkpoint(&inside, since_us, ret, err);
}

/* ---- target */

static int receive(const struct mover_guest *guest, int fd, struct mover_report *ret,
                   struct err *err)
{
    struct mover_guest coming = *guest;

    coming.has_console = true;
    return mover_receive(&coming, fd, ret, err);
}

static int receive_kept(const struct mover_guest *guest, int fd, const uint8_t digest[DIGEST_SIZE],
                        struct mover_report *ret, struct err *err)
{
    struct mover_guest coming = *guest;

    coming.has_console = true;
    return mover_receive_kept(&coming, fd, digest, ret, err);
}

static int stand_by(const struct mover_guest *guest, struct err *err)
{
    pid_t keeper;

    return keeper_start(LXC_PROGRAM, "stand-by", guest->run, -1, &keeper, err);
}

/* A skein-lxc that restored it ahead is its parent since it was let go; else one does that now. */
static int activate(const struct mover_guest *guest, pid_t *ret_pid, struct err *err)
{
    pid_t init;
    int rc = mover_let_go(guest, &init, err);

    if (rc == 1 && (*ret_pid = proc_parent(init)) == 0)
        rc = err_set(err, -ESRCH, "the container's first process has ended");
    if (rc == 0)
        rc = keeper_start(LXC_PROGRAM, guest->is_kept ? "resume" : "restore", guest->run, -1,
                          ret_pid, err);
    return rc < 0 ? rc : mover_memory_follows(guest, err);
}

const struct mover_ops mover_lxc_ops = {
    .name = "criu",
    .check = check,
    .look = look,
    .measure = measure,
    .ready = ready,
    .copy = copy,
    .capture = capture,
    .stand_by = stand_by,
    .await_restored = mover_await_restored,
    .receive = receive,
    .activate = activate,
    .await = mover_await,
    .resume = mover_remove_checkpoint,
    .checkpoint = checkpoint,
    .send = mover_send,
    .receive_kept = receive_kept,
    .reset_peers = mover_reset_peers,
    .discard = mover_remove_checkpoint,
};
