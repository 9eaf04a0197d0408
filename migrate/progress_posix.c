#include "migrate/progress_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clean.h"

enum { SIZE = 21 };

void progress_begin(struct progress *progress, const char *path, uint64_t total_bytes)
{
    progress->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    progress->value = (struct move_progress){.total_bytes = total_bytes};
    progress_tell(progress, 0);
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
