/* cell-driver: the contracts of cells and their mover as a command, for the lab scenario of cells.
 *
 *   cell-driver unpack FILE                  -> its digest
 *   cell-driver start NAME DIGEST CMD…       -> pid
 *   cell-driver start-with NAME DIGEST VOLUME CMD…   likewise; VOLUME is one as people write it
 *   cell-driver exec NAME PID CMD…           ends as CMD ends
 *   cell-driver terminate PID
 *   cell-driver clean-up NAME [keep]
 *   cell-driver check NAME PID FREEZER
 *   cell-driver capture NAME PID FREEZER [stop|post|pre|follow]
 *                                            the stream to stdout, times to stderr; pre and follow
 *                                            go on behind copy
 *   cell-driver copy NAME PID FREEZER LAST_ROUND_MS [post]
 *                                            rounds of pre-copy to stdout; next=pre or follow on
 *                                            stderr
 *   cell-driver receive NAME                 the stream from stdin
 *   cell-driver stand-by NAME DIGEST         before receive: for who restores it ahead
 *   cell-driver activate NAME DIGEST         -> pid
 *   cell-driver resume NAME
 *   cell-driver discard NAME
 *
 * A guest NAME has its namespace and directories where agent/guest/guest.h says.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/guest/guest.h"
#include "agent/guest/unpack_archive.h"
#include "base/digest_sodium.h"
#include "migrate/mode.h"
#include "migrate/mover.h"
#include "migrate/progress_posix.h"

struct words {
    int n;
    char **word;
};

static int done(int r, const struct err *err)
{
    if (r < 0)
        fprintf(stderr, "cell-driver: %s (%d)\n", err->text, r);
    return r < 0 ? 125 : 0;
}

static void read_digest(const char *text, uint8_t ret[DIGEST_SIZE])
{
    memset(ret, 0, DIGEST_SIZE);
    for (size_t i = 0; i < DIGEST_SIZE && strlen(text) == 2 * DIGEST_SIZE; i++)
        sscanf(text + 2 * i, "%2hhx", &ret[i]);
}

static int unpack(const struct words *w, struct err *err)
{
    uint8_t digest[DIGEST_SIZE];
    char text[DIGEST_TEXT_SIZE];
    struct guest_paths paths;
    int fd = open(w->word[0], O_RDONLY | O_CLOEXEC), r;

    r = digest_of_file(fd, digest, NULL, err);
    if (r < 0)
        return done(r, err);
    guest_paths_init(&paths, "none", digest);
    r = unpack_image(fd, digest, paths.image_root, err);
    if (r == 0)
        puts(digest_format(digest, text));
    return done(r, err);
}

static void make_run(const char *name, char **argv, uint32_t n_argv, struct guest_run *ret)
{
    static char *env[] = {(char *)"GREETING=hello"};

    *ret = (struct guest_run){.epoch = 1};
    snprintf(ret->spec.name, sizeof(ret->spec.name), "%s", name);
    ret->spec.kind = KIND_CELL;
    ret->spec.env = env;
    ret->spec.n_env = 1;
    ret->spec.argv = argv;
    ret->spec.n_argv = n_argv;
}

static int start_run(struct guest_run *run, const char *digest, struct err *err)
{
    struct guest_paths paths;
    pid_t pid;
    int r;

    read_digest(digest, run->digest);
    guest_paths_of_run(&paths, run);
    r = guest_cell_ops.start(run, &paths, &pid, err);
    if (r == 0)
        printf("%d\n", pid);
    return done(r, err);
}

static int start(const struct words *w, struct err *err)
{
    struct guest_run run;

    make_run(w->word[0], w->word + 2, (uint32_t)w->n - 2, &run);
    return start_run(&run, w->word[1], err);
}

static int start_with(const struct words *w, struct err *err)
{
    struct volume volume;
    struct guest_run run;
    int r = volume_parse(w->word[2], &volume, err);

    make_run(w->word[0], w->word + 3, (uint32_t)w->n - 3, &run);
    run.spec.n_volumes = 1;
    run.spec.volumes = &volume;
    return r < 0 ? done(r, err) : start_run(&run, w->word[1], err);
}

static int exec_in(const struct words *w, struct err *err)
{
    const int stdio[3] = {0, 1, 2};
    struct guest_run run;
    int status, r;

    make_run(w->word[0], NULL, 0, &run);
    r = guest_cell_ops.exec(atoi(w->word[1]), &run, w->word + 2, stdio, &status, err);
    if (r < 0)
        return done(r, err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int terminate(const struct words *w, struct err *err)
{
    return done(guest_cell_ops.terminate(atoi(w->word[0]), err), err);
}

static int clean_up(const struct words *w, struct err *err)
{
    const uint8_t digest[DIGEST_SIZE] = {0};
    struct guest_paths paths;

    guest_paths_init(&paths, w->word[0], digest);
    return done(guest_cell_ops.clean_up(&paths, w->n > 1, err), err);
}

static void make_mover_guest(const struct words *w, struct guest_paths *paths,
                             struct mover_guest *ret)
{
    static struct guest_run run;

    snprintf(run.spec.name, sizeof(run.spec.name), "%s", w->word[0]);
    guest_mover_init(ret, &run, paths);
    ret->pid = w->n > 2 ? atoi(w->word[1]) : 0;
    ret->freezer = w->n > 2 ? w->word[2] : "";
}

/* NAME or NAME PID FREEZER, and no image. */
static void read_mover_guest(const struct words *w, struct guest_paths *paths,
                             struct mover_guest *ret)
{
    const uint8_t digest[DIGEST_SIZE] = {0};

    guest_paths_init(paths, w->word[0], digest);
    make_mover_guest(w, paths, ret);
}

static int check(const struct words *w, struct err *err)
{
    struct guest_paths paths;
    struct mover_guest guest;

    read_mover_guest(w, &paths, &guest);
    return done(mover_criu_ops.check(&guest, err), err);
}

static enum move_mode mode_of(const char *word, bool *ret_is_begun)
{
    *ret_is_begun = strcmp(word, "pre") == 0 || strcmp(word, "follow") == 0;
    return strcmp(word, "pre") == 0                                   ? MOVE_PRE
           : strcmp(word, "post") == 0 || strcmp(word, "follow") == 0 ? MOVE_POST
                                                                      : MOVE_STOP;
}

static int copy(const struct words *w, struct err *err)
{
    struct mover_order order = {
        .mode = MOVE_PRE, .last_round_ms = (uint32_t)atoi(w->word[3]), .post_after = w->n > 4};
    struct move_progress told = {0};
    struct mover_report report;
    struct guest_paths paths;
    struct mover_guest guest;
    char progress[256];
    int r;

    read_mover_guest(w, &paths, &guest);
    order.link_kbps = MODE_COPY_KBPS;
    r = mover_criu_ops.ready(&guest, order.link_kbps, err);
    if (r >= 0)
        r = mover_criu_ops.copy(&guest, 1, &order, &report, err);
    snprintf(progress, sizeof(progress), "%s" MOVER_PROGRESS, guest.checkpoint);
    (void)progress_read(progress, &told);
    if (r == 0)
        fprintf(stderr, "copied next=%s rounds=%u bytes=%llu left=%llu expected_ms=%u\n",
                report.mode == MOVE_POST ? "follow" : "pre", told.round - 1,
                (unsigned long long)report.bytes,
                (unsigned long long)(told.total_bytes - told.done_bytes), told.blackout_ms);
    return done(r, err);
}

static int capture(const struct words *w, struct err *err)
{
    struct mover_order order = {0};
    bool is_begun;
    struct mover_report report;
    struct guest_paths paths;
    struct mover_guest guest;
    int r;

    read_mover_guest(w, &paths, &guest);
    order.mode = mode_of(w->n > 3 ? w->word[3] : "stop", &is_begun);
    r = is_begun ? 0 : mover_criu_ops.ready(&guest, MODE_COPY_KBPS, err);
    if (r >= 0)
        r = mover_criu_ops.capture(&guest, 1, &order, &report, err);
    if (r == 0)
        fprintf(stderr, "captured bytes=%llu frozen_us=%llu handed_over_us=%llu\n",
                (unsigned long long)report.bytes, (unsigned long long)report.frozen_us,
                (unsigned long long)report.handed_over_us);
    return done(r, err);
}

static int receive(const struct words *w, struct err *err)
{
    struct mover_report report;
    struct guest_paths paths;
    struct mover_guest guest;
    int r;

    read_mover_guest(w, &paths, &guest);
    r = mover_criu_ops.receive(&guest, 0, &report, err);
    if (r == 0)
        fprintf(stderr, "received bytes=%llu handed_over_us=%llu\n",
                (unsigned long long)report.bytes, (unsigned long long)report.handed_over_us);
    return done(r, err);
}

static int stand_by(const struct words *w, struct err *err)
{
    uint8_t digest[DIGEST_SIZE];
    struct guest_paths paths;
    struct mover_guest guest;

    read_digest(w->word[1], digest);
    guest_paths_init(&paths, w->word[0], digest);
    make_mover_guest(w, &paths, &guest);
    return done(mover_criu_ops.stand_by(&guest, err), err);
}

static int activate(const struct words *w, struct err *err)
{
    uint8_t digest[DIGEST_SIZE];
    struct guest_paths paths;
    struct mover_guest guest;
    struct timespec now;
    pid_t pid;
    int r;

    read_digest(w->word[1], digest);
    guest_paths_init(&paths, w->word[0], digest);
    make_mover_guest(w, &paths, &guest);
    r = mover_criu_ops.activate(&guest, &pid, err);
    clock_gettime(CLOCK_BOOTTIME, &now);
    if (r >= 0) { /* 1: its memory follows */
        printf("%d\n", pid);
        fprintf(stderr, "activated running_us=%lld\n",
                (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    }
    return done(r, err);
}

static int await(const struct words *w, struct err *err)
{
    struct guest_paths paths;
    struct mover_guest guest;

    read_mover_guest(w, &paths, &guest);
    return done(mover_criu_ops.await(&guest, err), err);
}

static int resume(const struct words *w, struct err *err)
{
    struct guest_paths paths;
    struct mover_guest guest;

    read_mover_guest(w, &paths, &guest);
    return done(mover_criu_ops.resume(&guest, err), err);
}

static int discard(const struct words *w, struct err *err)
{
    struct guest_paths paths;
    struct mover_guest guest;

    read_mover_guest(w, &paths, &guest);
    return done(mover_criu_ops.discard(&guest, err), err);
}

static const struct {
    const char *name;
    int n_words; /* at least */
    int (*run)(const struct words *w, struct err *err);
} verbs[] = {
    {"unpack", 1, unpack},         {"start", 3, start},       {"exec", 3, exec_in},
    {"terminate", 1, terminate},   {"clean-up", 1, clean_up}, {"check", 3, check},
    {"capture", 3, capture},       {"receive", 1, receive},   {"activate", 2, activate},
    {"resume", 1, resume},         {"discard", 1, discard},   {"await", 1, await},
    {"start-with", 4, start_with}, {"stand-by", 2, stand_by}, {"copy", 4, copy},
};

int main(int argc, char **argv)
{
    struct words w = {.n = argc - 2, .word = argv + 2};
    struct err err = {0};

    for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(argv[1], verbs[i].name) == 0 && w.n >= verbs[i].n_words)
            return verbs[i].run(&w, &err);
    }
    fprintf(stderr, "usage: see the head of cell_driver.c\n");
    return 2;
}
