/* Target of a migration: what was received is restored, in one go, or ahead of the word that it may
 * run, by a process of ours that stands by from before it is received (presence_posix.h): in the
 * guest's cgroups already, with a criu whose own start is over. When all has come it has the guest
 * restored, up to where none of its own code has run yet; there criu is held, until the process is
 * told to let go or to take everything back.
 */
#include "migrate/mover_criu.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/tree_posix.h"
#include "migrate/console_criu.h"
#include "migrate/files_image.h"
#include "migrate/ground_criu.h"
#include "migrate/lazy_criu.h"
#include "migrate/presence_posix.h"
#include "migrate/restore_criu.h"
#include "migrate/run_criu.h"
#include "migrate/volumes_criu.h"

enum { LAZILY = 'l', RECEIVED = 'r', LET_GO = 'g', TAKEN_BACK_MS = 10000 };

/* What cannot be mended is restored as it is: criu says what is wrong with it. */
static void mend_files(const struct mover_paths *paths)
{
    char path[sizeof(paths->images) + 16];
    cleanup_close int fd = -1;
    struct stat status;
    void *image;

    snprintf(path, sizeof(path), "%s/files.img", paths->images);
    fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0 || status.st_size == 0)
        return;
    image = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (image == MAP_FAILED)
        return;
    (void)files_image_mend(image, (size_t)status.st_size);
    munmap(image, (size_t)status.st_size);
}

static int make_ground(const struct mover_guest *guest, struct err *err)
{
    cleanup_close int log = -1;
    int r = tree_make(guest->merged, 0755, err);

    if (r == 0)
        r = tree_make(guest->work, 0755, err);
    if (r < 0)
        return r;
    log = open(guest->log, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    return log < 0 ? err_set(err, -errno, "cannot write %s: %s", guest->log, strerror(errno)) : 0;
}

/* What its arguments point into. */
struct words {
    char dev[300], shm[300], log[300];
    struct volume_words volumes;
    struct console_words console;
};

static int name_all(const struct mover_guest *guest, const struct mover_paths *paths, bool is_lazy,
                    struct words *words, struct criu_run *run, struct err *err)
{
    int r;

    snprintf(words->dev, sizeof(words->dev), "mnt[dev]:%s", paths->dev);
    snprintf(words->shm, sizeof(words->shm), "mnt[shm]:%s", paths->shm);
    snprintf(words->log, sizeof(words->log), "mnt[log]:%s", guest->log);
    *run = (struct criu_run){
        .what = "restore",
        .directory = paths->images,
        .arguments = {"--restore-detached", "--root", guest->merged, "--inherit-fd", "fd[3]:net",
                      "--external", words->dev, "--external", words->shm, "--external", words->log,
                      "--manage-cgroups=ignore",
                      guest->is_kept ? "--tcp-close" : "--tcp-established", "--file-locks",
                      "--pidfile", paths->pid_file},
    };
    if (is_lazy)
        criu_add_argument(run, "--lazy-pages");
    r = volumes_name_to_restore(guest, &words->volumes, run, err);
    return r < 0 ? r : console_name_to_restore(guest, paths, &words->console, run, err);
}

/* It ends with this process: the restored guest has another. */
static int own_mounts(struct err *err)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_set(err, -errno, "cannot make a mount namespace: %s", strerror(errno));
    return 0;
}

/* Of what was received, among this process's mounts. */
static int make_root(const struct mover_guest *guest, const struct mover_paths *paths,
                     struct err *err)
{
    int r = make_ground(guest, err);

    mend_files(paths);
    return r < 0 ? r
                 : ground_mount_root(guest->image_root, guest->upper, guest->work, guest->merged,
                                     err);
}

static int start(const struct mover_guest *guest, const struct mover_paths *paths,
                 struct criu_run *run, struct err *err)
{
    cleanup_close int netns = run->inherited = open(guest->netns, O_RDONLY | O_CLOEXEC);
    int r;

    if (netns < 0)
        return err_set(err, -errno, "guest %s has no network namespace %s: %s", guest->name,
                       guest->netns, strerror(errno));
    unlink(paths->pid_file);
    r = criu_start(run, err);
    if (run->terminal > 0)
        close(steal_fd(&run->terminal));
    return r;
}

/* ---- in one go */

static int restore(const struct mover_guest *guest, const struct mover_paths *paths,
                   struct err *err)
{
    struct words words;
    struct criu_run run;
    int r = own_mounts(err);

    if (r == 0)
        r = make_root(guest, paths, err);
    if (r == 0)
        r = name_all(guest, paths, lazy_is_awaited(paths), &words, &run, err);
    if (r == 0)
        r = start(guest, paths, &run, err);
    return r < 0 ? r : criu_finish(&run, err);
}

static int restore_in_child(const struct mover_guest *guest, const struct mover_paths *paths,
                            struct err *err)
{
    struct err failure = {0};
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    pid = fork();
    if (pid == 0) {
        restore(guest, paths, &failure);
        (void)!write(ends[1], &failure, sizeof(failure));
        _exit(0);
    }
    close(ends[1]);
    if (pid < 0 || read(ends[0], &failure, sizeof(failure)) != (ssize_t)sizeof(failure))
        failure = (struct err){-ECHILD, "the process that restores the guest died"};
    close(ends[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return failure.code < 0 ? err_set(err, failure.code, "%s", failure.text) : 0;
}

/* ---- ahead */

struct holding {
    const struct mover_guest *guest;
    const struct mover_paths *paths;
    struct words words;
    struct criu_run run;
    bool is_at_gate, is_lazy;
    int ready, go; /* criu says where it waits, and hears that it may go on; -1 */
};

/* It waits next at its gate, or with the guest restored. */
static int await_criu(struct holding *h, struct err *err)
{
    char byte;
    int r;

    if (read(h->ready, &byte, 1) == 1)
        return 0;
    r = criu_finish(&h->run, err);
    return r < 0 ? r : err_set(err, -EIO, "criu does not wait before the guest runs");
}

static void go_on(struct holding *h)
{
    (void)!write(h->go, "\n", 1);
}

static int start_held(struct holding *h, const char *gate, struct err *err)
{
    int r = name_all(h->guest, h->paths, h->is_lazy, &h->words, &h->run, err), ready[2], go[2];

    if (r < 0)
        return r;
    if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    h->ready = ready[0];
    h->go = go[1];
    h->run.says_ready = ready[1];
    h->run.go = go[0];
    h->run.gate = gate;
    h->run.is_held = true;
    r = start(h->guest, h->paths, &h->run, err);
    close(ready[1]);
    close(go[0]);
    return r;
}

/* One that waits takes everything back. */
static void end_held(struct holding *h)
{
    close(steal_fd(&h->go));
    (void)criu_finish(&h->run, NULL);
    close(steal_fd(&h->ready));
}

/* Before it is known what comes. What is restored with the terminal of another node's guest is
 * named by what that one's settings were: such a criu is started when all is there. */
static int wait_at_gate(struct holding *h, struct err *err)
{
    int r;

    if (h->guest->has_console)
        return 0;
    r = start_held(h, CRIU_FIRST_IMAGE, err);
    if (r == 0)
        r = await_criu(h, err);
    h->is_at_gate = r == 0;
    return r;
}

/* Memory will follow: that is one more of criu's options. */
static int begin_lazily(struct holding *h, struct err *err)
{
    if (h->is_at_gate)
        end_held(h);
    h->is_lazy = true;
    return wait_at_gate(h, err);
}

/* Until it is there, or is not to come: what was said last. */
static char await_guest(struct holding *h, struct err *err)
{
    char word = PRESENCE_END;
    int r = own_mounts(err);

    if (r == 0)
        r = wait_at_gate(h, err);
    if (r == 0)
        word = presence_listen(h->paths->holder);
    if (word == LAZILY) {
        r = begin_lazily(h, err);
        word = r == 0 ? presence_listen(h->paths->holder) : PRESENCE_END;
    }
    return word;
}

/* All has come. */
static int restore_held(struct holding *h, struct err *err)
{
    int r = make_root(h->guest, h->paths, err);

    if (r == 0 && !h->is_at_gate)
        r = start_held(h, NULL, err);
    if (r == 0 && h->is_at_gate)
        go_on(h);
    if (r == 0)
        r = await_criu(h, err);
    if (r == 0)
        presence_leave_word(h->paths->restored, "");
    return r;
}

/* In the process that holds it. One that cannot is not there any more, and then ACTIVATE does all
 * (see let_go()). */
static void hold(struct holding *h)
{
    struct err failure = {0};
    char word = await_guest(h, &failure);

    if (word == RECEIVED)
        word = restore_held(h, &failure) == 0 ? presence_listen(h->paths->holder) : PRESENCE_END;
    if (failure.code < 0)
        unlink(h->paths->holder);
    if (word == LET_GO) {
        go_on(h);
        presence_leave_word(h->paths->let_go,
                            criu_finish(&h->run, &failure) < 0 ? failure.text : "");
    } else if (failure.code == 0 && h->go >= 0) {
        end_held(h);
    }
    _exit(0);
}

int mover_stand_by(const struct mover_guest *guest, struct err *err)
{
    struct mover_paths paths;
    struct holding holding = {.guest = guest, .paths = &paths, .ready = -1, .go = -1};
    int r = mover_paths_init(&paths, guest, err);
    cleanup_close int present = -1;
    pid_t pid;

    if (r == 0)
        r = receive_make_places(guest, &paths, err);
    if (r < 0)
        return r;
    present = presence_begin(paths.holder, err);
    if (present < 0)
        return present;
    pid = presence_fork(&present, 1);
    if (pid == 0)
        hold(&holding);
    return pid < 0 ? err_set(err, -errno, "cannot fork: %s", strerror(errno)) : 0;
}

bool restore_stands_by(const struct mover_paths *paths)
{
    return presence_is_there(paths->holder);
}

void restore_expect_memory(const struct mover_paths *paths)
{
    (void)presence_say(paths->holder, LAZILY);
}

void restore_begin(const struct mover_paths *paths)
{
    (void)presence_say(paths->holder, RECEIVED);
}

int restore_take_back(const struct mover_paths *paths, struct err *err)
{
    return presence_wait(paths->holder, true, TAKEN_BACK_MS, err);
}

int mover_await_restored(const struct mover_guest *guest, struct err *err)
{
    struct mover_paths paths;
    int r = mover_paths_init(&paths, guest, err);

    return r < 0 ? r : presence_await_word(paths.holder, paths.restored);
}

/* ---- it may run */

static int read_pid(const char *path, pid_t *ret, struct err *err)
{
    FILE *file = fopen(path, "re");
    int pid = 0;

    if (file != NULL) {
        if (fscanf(file, "%d", &pid) != 1)
            pid = 0;
        fclose(file);
    }
    if (pid <= 0)
        return err_set(err, -EIO, "criu restored the guest but does not say its pid");
    *ret = pid;
    return 0;
}

/* 1: it was there, and runs now; 0: nobody holds it, or could hold it, and has said so by taking
 * the name away that he was told by. */
static int let_go(const struct mover_paths *paths, struct err *err)
{
    char word[PRESENCE_WORD_SIZE];

    unlink(paths->restored);
    if (presence_tell(paths->holder, LET_GO) == 0)
        return 0;
    if (!presence_read_word(paths->let_go, word))
        return access(paths->holder, F_OK) < 0
                   ? 0
                   : err_set(err, -ECHILD, "the process that held the guest died");
    return word[0] == '\0' ? 1 : err_set(err, -ENOTSUP, "%s", word);
}

int mover_let_go(const struct mover_guest *guest, pid_t *ret_pid, struct err *err)
{
    struct mover_paths paths;
    int r = mover_paths_init(&paths, guest, err);

    if (r == 0)
        r = let_go(&paths, err);
    if (r <= 0)
        return r;
    r = read_pid(paths.pid_file, ret_pid, err);
    return r < 0 ? r : 1;
}

int mover_memory_follows(const struct mover_guest *guest, struct err *err)
{
    struct mover_paths paths;
    int r = mover_paths_init(&paths, guest, err);

    return r < 0 ? r : lazy_is_awaited(&paths);
}

int mover_activate(const struct mover_guest *guest, pid_t *ret_pid, struct err *err)
{
    struct mover_paths paths;
    int r = mover_paths_init(&paths, guest, err);

    if (r < 0)
        return r;
    r = mover_let_go(guest, ret_pid, err);
    if (r == 0) {
        r = restore_in_child(guest, &paths, err);
        if (r == 0)
            r = read_pid(paths.pid_file, ret_pid, err);
    }
    return r < 0 ? r : lazy_is_awaited(&paths);
}
