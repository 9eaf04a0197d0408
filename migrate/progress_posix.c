#include "migrate/progress_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clean.h"
#include "migrate/mover.h"

enum { SIZE = 25 };

static void begin(struct progress *progress, const char *path)
{
    progress->fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    progress_tell(progress, 0);
}

void progress_begin(struct progress *progress, const char *path, uint64_t total_bytes)
{
    progress->value = (struct move_progress){.total_bytes = total_bytes};
    begin(progress, path);
}

void progress_go_on(struct progress *progress, const char *path)
{
    progress->value = (struct move_progress){0};
    (void)progress_read(path, &progress->value);
    progress->value.is_files = false;
    begin(progress, path);
}

void progress_expect(const char *directory, const struct mode_wish *wish, uint32_t blackout_ms)
{
    struct progress progress;
    char path[256];

    snprintf(path, sizeof(path), "%s" MOVER_PROGRESS, directory);
    if (access(path, F_OK) < 0)
        return;
    progress_go_on(&progress, path);
    if (blackout_ms == 0)
        blackout_ms = mode_expected_ms(wish, progress.value.total_bytes);
    progress.value.blackout_ms = blackout_ms;
    progress_tell(&progress, progress.value.done_bytes);
    progress_end(&progress);
}

void progress_tell(struct progress *progress, uint64_t done_bytes)
{
    uint8_t bytes[SIZE];
    struct writer w;

    if (progress->fd < 0)
        return;
    progress->value.done_bytes = done_bytes;
    writer_init(&w, bytes, sizeof(bytes));
    move_progress_encode(&progress->value, &w);
    (void)!pwrite(progress->fd, bytes, sizeof(bytes), 0);
}

void progress_end(struct progress *progress)
{
    if (progress->fd >= 0)
        close(steal_fd(&progress->fd));
}

int progress_read(const char *path, struct move_progress *ret)
{
    cleanup_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    uint8_t bytes[SIZE];
    struct reader r;

    if (fd < 0 || read(fd, bytes, sizeof(bytes)) != SIZE)
        return -ENOENT;
    reader_init(&r, bytes, sizeof(bytes));
    move_progress_decode(&r, ret);
    return 0;
}
