#include "agent/streams/stream_job_uv.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clean.h"

enum { HEADER_MAGIC = 0x54534b53, HEADER_VERSION = 2, BUFFER_SIZE = 64 * 1024 };

struct stream_job {
    struct stream_jobs *jobs;
    struct stream_job *next;
    uv_poll_t poll;
    uv_timer_t idle;
    int fd;
    int n_open; /* handles not closed yet */
    bool ended;
    /* What to do when `fd` is ready: 0 goes on, 1 done, negative errno: failed. */
    int (*step)(struct stream_job *job);

    struct link_peer peer; /* ACCEPT */
    struct stream_header header;
    stream_accepted_cb accepted;
    stream_done_cb fetched;
    void *context;

    int file; /* served */
    struct image_upload *upload;
    uint64_t left; /* bytes of the image not yet through `buffer` */
    size_t at, have;
    uint8_t buffer[BUFFER_SIZE];
};

void stream_header_encode(const struct stream_header *header, uint8_t ret[STREAM_HEADER_SIZE])
{
    static const uint8_t zeroes[DIGEST_SIZE];
    struct writer w;

    writer_init(&w, ret, STREAM_HEADER_SIZE);
    write_u32(&w, HEADER_MAGIC);
    write_u8(&w, HEADER_VERSION);
    write_u8(&w, (uint8_t)header->kind);
    write_u16(&w, 0);
    if (header->kind == STREAM_IMAGE) {
        write_bytes(&w, header->digest, DIGEST_SIZE);
        write_u64(&w, header->offset);
    } else if (header->kind == STREAM_MIGRATION) {
        write_u64(&w, header->migration);
        write_bytes(&w, zeroes, DIGEST_SIZE);
    } else {
        write_u64(&w, header->created);
        write_u64(&w, header->epoch);
        write_bytes(&w, zeroes, DIGEST_SIZE - sizeof(uint64_t));
    }
}

int stream_header_decode(const uint8_t data[STREAM_HEADER_SIZE], struct stream_header *ret)
{
    struct stream_header header = {0};
    struct reader r;
    bool known;

    reader_init(&r, data, STREAM_HEADER_SIZE);
    known = read_u32(&r) == HEADER_MAGIC && read_u8(&r) == HEADER_VERSION;
    header.kind = read_u8(&r);
    if (read_u16(&r) != 0 || !known)
        return -EBADMSG;
    if (header.kind == STREAM_IMAGE) {
        read_bytes(&r, header.digest, DIGEST_SIZE);
        header.offset = read_u64(&r);
    } else if (header.kind == STREAM_MIGRATION) {
        header.migration = read_u64(&r);
    } else if (header.kind == STREAM_CHECKPOINT) {
        header.created = read_u64(&r);
        header.epoch = read_u64(&r);
    } else {
        return -EBADMSG;
    }
    *ret = header;
    return 0;
}

/* ---- life of a job */

static void on_handle_closed(uv_handle_t *handle)
{
    struct stream_job *job = handle->data;

    if (--job->n_open > 0)
        return;
    if (job->fd >= 0)
        close(job->fd);
    free(job);
}

static void unlist(struct stream_job *job)
{
    struct stream_job **at = &job->jobs->first;

    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    job->jobs->n--;
}

static void tell(struct stream_job *job, int status)
{
    bool hand_over = status == 0 && job->header.kind != STREAM_IMAGE;

    if (job->fetched != NULL)
        job->fetched(job->context, status);
    else if (job->accepted != NULL)
        job->accepted(job->context, status, job->peer.node_id, &job->header,
                      hand_over ? steal_fd(&job->fd) : -1);
}

static void job_end(struct stream_job *job, int status)
{
    if (job->ended)
        return;
    job->ended = true;
    unlist(job);
    /* Before its descriptor has another owner: libuv takes it out of its epoll set once more. */
    uv_close((uv_handle_t *)&job->poll, on_handle_closed);
    uv_close((uv_handle_t *)&job->idle, on_handle_closed);
    if (job->file >= 0)
        close(job->file);
    image_upload_pause(job->upload);
    tell(job, status);
}

static void on_idle(uv_timer_t *timer)
{
    job_end(timer->data, -ETIMEDOUT);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct stream_job *job = poll->data;
    int r = status < 0 ? status : job->step(job);

    (void)events;
    uv_timer_again(&job->idle);
    if (r != 0)
        job_end(job, r < 0 ? r : 0);
}

static int job_new(struct stream_jobs *jobs, int fd, int (*step)(struct stream_job *),
                   struct stream_job **ret)
{
    struct stream_job *job = jobs->n < STREAM_JOBS_MAX ? calloc(1, sizeof(*job)) : NULL;

    if (job == NULL) {
        close(fd);
        return -ENOBUFS;
    }
    *job = (struct stream_job){.jobs = jobs, .fd = fd, .file = -1, .step = step, .n_open = 2};
    uv_timer_init(jobs->loop, &job->idle);
    if (uv_poll_init(jobs->loop, &job->poll, fd) != 0) {
        job->idle.data = job;
        job->n_open = 1;
        uv_close((uv_handle_t *)&job->idle, on_handle_closed);
        return -EBADF;
    }
    job->poll.data = job->idle.data = job;
    uv_timer_start(&job->idle, on_idle, STREAM_IDLE_MS, STREAM_IDLE_MS);
    job->next = jobs->first;
    jobs->first = job;
    jobs->n++;
    *ret = job;
    return 0;
}

static void job_wait(struct stream_job *job, int events)
{
    uv_poll_start(&job->poll, events, on_ready);
}

void stream_jobs_cancel(struct stream_jobs *jobs)
{
    while (jobs->first != NULL)
        job_end(jobs->first, -ECANCELED);
}

/* Reads up to `size` bytes behind what the buffer holds. 1: it is full; 0: more must come. */
static int fill(struct stream_job *job, size_t size)
{
    ssize_t n = read(job->fd, job->buffer + job->have, size - job->have);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    job->have += (size_t)n;
    return job->have == size;
}

/* ---- serving an image */

static int step_serve(struct stream_job *job)
{
    ssize_t n;

    if (job->at == job->have) {
        if (job->left == 0)
            return 1;
        n = read(job->file, job->buffer, sizeof(job->buffer));
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        job->at = 0;
        job->have = (size_t)n;
        job->left -= job->left < (uint64_t)n ? job->left : (uint64_t)n;
    }
    n = write(job->fd, job->buffer + job->at, job->have - job->at);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    job->at += (size_t)n;
    return job->at == job->have && job->left == 0;
}

static void begin_to_serve(struct stream_job *job)
{
    struct writer w;
    uint64_t size = 0;

    job->file = image_store_read(job->jobs->store, job->header.digest, &size);
    if (job->file < 0 || job->header.offset > size ||
        lseek(job->file, (off_t)job->header.offset, SEEK_SET) < 0)
        size = job->header.offset = 0;
    job->left = size - job->header.offset;
    writer_init(&w, job->buffer, sizeof(job->buffer));
    write_u64(&w, size);
    job->at = 0;
    job->have = w.size;
    job->step = step_serve;
    job->jobs->on_serve(job->jobs->context, &job->peer);
    job_wait(job, UV_WRITABLE);
}

static int step_header(struct stream_job *job)
{
    int r = fill(job, STREAM_HEADER_SIZE);

    if (r <= 0)
        return r;
    r = stream_header_decode(job->buffer, &job->header);
    if (r < 0)
        return r;
    if (job->header.kind != STREAM_IMAGE)
        return 1;
    begin_to_serve(job);
    return 0;
}

int stream_job_accept(struct stream_jobs *jobs, int fd, const struct link_peer *peer,
                      stream_accepted_cb done, void *context)
{
    struct stream_job *job;
    int r = job_new(jobs, fd, step_header, &job);

    if (r < 0)
        return r;
    job->peer = *peer;
    job->accepted = done;
    job->context = context;
    job_wait(job, UV_READABLE);
    return 0;
}

/* ---- fetching an image */

static int finish_fetch(struct stream_job *job)
{
    uint8_t digest[DIGEST_SIZE];
    uint64_t size;
    struct image_upload *upload = steal(&job->upload);
    int r = image_upload_finish(upload, job->header.digest, digest, &size, NULL);

    return r < 0 ? r : 1;
}

static int step_fetch(struct stream_job *job)
{
    size_t want = job->left < sizeof(job->buffer) ? (size_t)job->left : sizeof(job->buffer);
    int r;

    job->have = 0;
    r = fill(job, want);
    if (r < 0)
        return r;
    r = image_upload_write(job->upload, job->buffer, job->have, NULL);
    if (r < 0) { /* a full disk: what it holds is not kept */
        image_upload_abort(steal(&job->upload));
        return r;
    }
    job->left -= job->have;
    return job->left == 0 ? finish_fetch(job) : 0;
}

static int step_fetch_size(struct stream_job *job)
{
    struct reader r;
    uint64_t size;
    int filled = fill(job, sizeof(uint64_t));

    if (filled <= 0)
        return filled;
    reader_init(&r, job->buffer, sizeof(uint64_t));
    size = read_u64(&r);
    if (size == 0)
        return -ENOENT;
    if (size > IMAGE_SIZE_MAX)
        return -EFBIG;
    if (size < job->header.offset)
        return -EBADMSG;
    job->left = size - job->header.offset;
    job->step = step_fetch;
    return job->left == 0 ? finish_fetch(job) : 0;
}

int stream_job_fetch(struct stream_jobs *jobs, int fd, const uint8_t digest[DIGEST_SIZE],
                     struct image_upload *upload, stream_done_cb done, void *context)
{
    struct stream_header header = {.kind = STREAM_IMAGE, .offset = image_upload_size(upload)};
    uint8_t bytes[STREAM_HEADER_SIZE];
    struct stream_job *job;
    int r = job_new(jobs, fd, step_fetch_size, &job);

    if (r < 0) {
        image_upload_pause(upload);
        return r;
    }
    job->upload = upload;
    memcpy(header.digest, digest, DIGEST_SIZE);
    stream_header_encode(&header, bytes);
    job->header = header;
    job->fetched = done;
    job->context = context;
    /* A fresh socket takes a header's few bytes at once. */
    if (write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes)) {
        job->fetched = NULL;
        job_end(job, -EPIPE);
        return -EPIPE;
    }
    uv_timer_start(&job->idle, on_idle, STREAM_FETCH_IDLE_MS, STREAM_FETCH_IDLE_MS);
    job_wait(job, UV_READABLE);
    return 0;
}
