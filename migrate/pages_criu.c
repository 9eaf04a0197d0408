#include "migrate/pages_criu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clean.h"

enum { CHUNK = STREAM_DATA_MAX };

void pages_name(uint32_t number, char ret[STREAM_NAME_SIZE])
{
    snprintf(ret, STREAM_NAME_SIZE, "pages-%u.img", number);
}

/* 1: the file is there now. */
static int open_next(struct pages *p, struct stream_out *out, struct err *err)
{
    char name[STREAM_NAME_SIZE];
    int r;

    pages_name(p->next, name);
    p->fd = openat(p->directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (p->fd < 0)
        return 0;
    p->at = 0;
    r = stream_out_file(out, name, err);
    return r < 0 ? r : 1;
}

static bool next_is_there(const struct pages *p)
{
    char name[STREAM_NAME_SIZE];

    pages_name(p->next + 1, name);
    return faccessat(p->directory, name, F_OK, 0) == 0;
}

/* 1: some bytes were there. */
static int send_some(struct pages *p, struct stream_out *out, struct err *err)
{
    ssize_t n = pread(p->fd, p->chunk, CHUNK, (off_t)p->at);
    int r;

    if (n < 0)
        return err_set(err, -errno, "cannot read the guest's memory: %s", strerror(errno));
    if (n == 0)
        return 0;
    r = stream_out_data(out, p->chunk, (size_t)n, err);
    p->at += (uint64_t)n;
    return r < 0 ? r : 1;
}

/* 1: there was something to do. Whether the present file is finished (the next one is there) is
 * looked at before its last bytes are read, or they could be missed. */
static int send_step(struct pages *p, struct stream_out *out, struct err *err)
{
    bool is_finished;
    int r;

    if (p->fd < 0)
        return open_next(p, out, err);
    is_finished = next_is_there(p);
    r = send_some(p, out, err);
    if (r != 0 || !is_finished)
        return r;
    close(steal_fd(&p->fd));
    p->next++;
    return 1;
}

static int send_steps(struct pages *p, struct criu_run *run, int ready, struct stream_out *out,
                      struct progress *progress, struct err *err)
{
    const struct timespec a_moment = {.tv_nsec = 300 * 1000};

    for (;;) {
        bool was_last =
            criu_is_ready(ready) || criu_has_ended(run); /* before the look at what there is */
        int r = send_step(p, out, err);

        if (r < 0)
            return r;
        if (r == 0 && was_last)
            return 0;
        if (r == 0)
            nanosleep(&a_moment, NULL);
        else
            progress_tell(progress, out->n_data - progress->before_bytes);
    }
}

int pages_send(struct pages *pages, int directory, struct criu_run *run, int ready,
               struct stream_out *out, struct progress *progress, struct err *err)
{
    int r;

    *pages = (struct pages){.directory = directory, .fd = -1, .next = 1, .chunk = malloc(CHUNK)};
    if (pages->chunk == NULL)
        return err_set(err, -ENOMEM, "no memory to send the guest");
    r = send_steps(pages, run, ready, out, progress, err);
    if (pages->fd >= 0) {
        close(steal_fd(&pages->fd));
        pages->next++;
    }
    free(steal(&pages->chunk));
    return r;
}

bool pages_has_sent(const struct pages *pages, const char *name)
{
    char sent[STREAM_NAME_SIZE];

    for (uint32_t number = 1; number < pages->next; number++) {
        pages_name(number, sent);
        if (strcmp(name, sent) == 0)
            return true;
    }
    return false;
}
