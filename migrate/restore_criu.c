/* Target of a migration: what was received is restored, in one go, or ahead of the word that it may
 * run. Ahead, criu stops where all of the guest is there and none of its own code has run yet; a
 * process of ours that outlives the job holds it there (presence_posix.h), until it is told to let
 * go or to take everything back.
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

enum { LET_GO = 'g', TAKEN_BACK_MS = 10000 };

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

static int name_all(const struct mover_guest *guest, const struct mover_paths *paths,
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
    if (lazy_is_awaited(paths))
        criu_add_argument(run, "--lazy-pages");
    r = volumes_name_to_restore(guest, &words->volumes, run, err);
    return r < 0 ? r : console_name_to_restore(guest, paths, &words->console, run, err);
}

/* From here on this process has a mount namespace of its own, which ends with it: the restored
 * guest has another. */
static int start(const struct mover_guest *guest, const struct mover_paths *paths,
                 struct criu_run *run, struct err *err)
{
    cleanup_close int netns = -1;
    int r = make_ground(guest, err);

    if (r < 0)
        return r;
    netns = run->inherited = open(guest->netns, O_RDONLY | O_CLOEXEC);
    if (netns < 0)
        return err_set(err, -errno, "guest %s has no network namespace %s: %s", guest->name,
                       guest->netns, strerror(errno));
    unlink(paths->pid_file);
    mend_files(paths);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_set(err, -errno, "cannot make a mount namespace: %s", strerror(errno));
    r = ground_mount_root(guest->image_root, guest->upper, guest->work, guest->merged, err);
    if (r == 0)
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
    int r = name_all(guest, paths, &words, &run, err);

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
    int present; /* as presence_begin gave it */
    int ready[2], go[2];
};

static int restore_held(struct holding *h, struct err *err)
{
    int r = name_all(h->guest, h->paths, &h->words, &h->run, err);
    char byte;

    if (r < 0)
        return r;
    if (pipe2(h->ready, O_CLOEXEC) < 0 || pipe2(h->go, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    h->run.says_ready = h->ready[1];
    h->run.go = h->go[0];
    h->run.is_held = true;
    r = start(h->guest, h->paths, &h->run, err);
    if (r < 0)
        return r;
    close(h->ready[1]);
    close(h->go[0]);
    if (read(h->ready[0], &byte, 1) == 1)
        return 0;
    r = criu_finish(&h->run, err);
    return r < 0 ? r : err_set(err, -EIO, "criu does not wait before the guest runs");
}

/* In the process that holds it; what became of the restore is told through `told`. Who holds
 * nothing is gone before that is known: it must not be told to let go. */
static void hold(struct holding *h, int told)
{
    struct err failure = {0};
    bool is_let_go;

    if (restore_held(h, &failure) < 0)
        failure.code = failure.code < 0 ? failure.code : -EIO;
    if (failure.code < 0)
        close(h->present);
    (void)!write(told, &failure, sizeof(failure));
    close(told);
    if (failure.code < 0)
        _exit(1);
    is_let_go = presence_listen(h->paths->holder) == LET_GO;
    if (is_let_go)
        (void)!write(h->go[1], "\n", 1);
    close(h->go[1]);
    (void)criu_finish(&h->run, &failure);
    if (is_let_go)
        presence_leave_word(h->paths->let_go, failure.code < 0 ? failure.text : "");
    _exit(0);
}

int mover_ahead(const struct mover_guest *guest, struct err *err)
{
    struct mover_paths paths;
    struct holding holding = {.guest = guest, .paths = &paths};
    struct err failure = {0};
    int r = mover_paths_init(&paths, guest, err), told[2];
    cleanup_close int present = -1;
    pid_t pid;

    if (r < 0)
        return r;
    present = holding.present = presence_begin(paths.holder, err);
    if (present < 0)
        return present;
    if (pipe2(told, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    pid = presence_fork((const int[]){present, told[1]}, 2);
    if (pid == 0)
        hold(&holding, told[1]);
    close(told[1]);
    if (pid < 0 || read(told[0], &failure, sizeof(failure)) != (ssize_t)sizeof(failure))
        failure = (struct err){-ECHILD, "the process that restores the guest died"};
    close(told[0]);
    return failure.code < 0 ? err_set(err, failure.code, "%s", failure.text) : 0;
}

int restore_take_back(const struct mover_paths *paths, struct err *err)
{
    return presence_wait(paths->holder, true, TAKEN_BACK_MS, err);
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

/* 1: it was there, and runs now; 0: nobody holds it. */
static int let_go(const struct mover_paths *paths, struct err *err)
{
    char word[PRESENCE_WORD_SIZE];

    if (presence_tell(paths->holder, LET_GO) == 0)
        return 0;
    if (!presence_read_word(paths->let_go, word))
        return err_set(err, -ECHILD, "the process that held the guest died");
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
