#include "agent/streams/checkpoints_uv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <unistd.h>

#include "agent/streams/image_store.h"
#include "agent/streams/mailbox_uv.h"
#include "base/clean.h"
#include "migrate/merge_sodium.h"
#include "migrate/stream_sodium.h"

enum { MAX_NEWEST = 1024, CHUNK = 256 * 1024, FREE_MIB = 64, CHECKPOINT_HEAD = STREAM_HEAD_SIZE };

/* The newest of a guest that came here; the state may not name it yet. */
struct newest {
    uint64_t guest;
    uint8_t digest[DIGEST_SIZE];
};

struct checkpoints {
    uv_loop_t *loop;
    char directory[128];
    uint64_t limit;
    struct image_store *store;
    struct mailbox *mailbox;
    int n_errands;
    uv_mutex_t lock; /* of the list, and of `coming` in it */
    struct errand *errands;
    size_t n_newest;
    struct newest newest[MAX_NEWEST]; /* oldest first */
};

/* What one thread does. */
struct errand {
    struct checkpoints *checkpoints;
    uv_thread_t thread;
    int fd;
    uint64_t guest;           /* receiving */
    checkpoint_receipt_cb cb; /* awaiting; NULL: receiving */
    void *context;
    int status;
    struct receipt receipt;
    struct errand *next;
    uint8_t coming[DIGEST_SIZE]; /* receiving: what is in the store, and not told of yet */
};

int checkpoints_new(uv_loop_t *loop, const char *directory, uint64_t limit,
                    struct checkpoints **ret, struct err *err)
{
    struct checkpoints *checkpoints = calloc(1, sizeof(*checkpoints));
    int rc;

    if (checkpoints == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    if (uv_mutex_init(&checkpoints->lock) != 0) {
        free(checkpoints);
        return err_set(err, -ENOMEM, "out of memory");
    }
    checkpoints->loop = loop;
    checkpoints->limit = limit;
    snprintf(checkpoints->directory, sizeof(checkpoints->directory), "%s", directory);
    rc = image_store_open(directory, &checkpoints->store, err);
    if (rc == 0 && mailbox_new(loop, 2 * CHECKPOINTS_MAX_ERRANDS, &checkpoints->mailbox) < 0) {
        image_store_close(checkpoints->store);
        rc = err_set(err, -ENOMEM, "out of memory");
    }
    if (rc < 0) {
        uv_mutex_destroy(&checkpoints->lock);
        free(checkpoints);
        return rc;
    }
    *ret = checkpoints;
    return 0;
}

void checkpoints_free(struct checkpoints *checkpoints)
{
    if (checkpoints == NULL)
        return;
    while (checkpoints->n_errands > 0)
        uv_run(checkpoints->loop, UV_RUN_ONCE);
    mailbox_close(checkpoints->mailbox);
    image_store_close(checkpoints->store);
    uv_mutex_destroy(&checkpoints->lock);
    free(checkpoints);
}

int checkpoints_read(const struct checkpoints *checkpoints, const uint8_t digest[DIGEST_SIZE])
{
    return image_store_read(checkpoints->store, digest, NULL);
}

/* ---- on the errand's thread */

struct sum {
    const struct checkpoints *checkpoints;
    uint64_t size;
};

static void add_size(void *context, const uint8_t digest[DIGEST_SIZE])
{
    struct sum *sum = context;
    uint64_t size = 0;
    int fd = image_store_read(sum->checkpoints->store, digest, &size);

    if (fd >= 0)
        close(fd);
    sum->size += size;
}

/* Bytes that may still come. */
static uint64_t room_of(const struct checkpoints *checkpoints)
{
    struct sum sum = {.checkpoints = checkpoints};
    struct statvfs disk;
    uint64_t room, spare;

    image_store_list(checkpoints->store, add_size, &sum, NULL);
    room = sum.size < checkpoints->limit ? checkpoints->limit - sum.size : 0;
    if (statvfs(checkpoints->directory, &disk) < 0)
        return room;
    spare = (uint64_t)disk.f_bavail * disk.f_frsize;
    spare = spare > (uint64_t)FREE_MIB << 20 ? spare - ((uint64_t)FREE_MIB << 20) : 0;
    return spare < room ? spare : room;
}

/* What is written goes there, as far as there is room. */
struct filling {
    struct image_upload *upload; /* or: */
    int fd;
    uint64_t left; /* bytes of the room */
};

static int fill(void *context, const void *data, size_t size, struct err *err)
{
    struct filling *f = context;

    if (size > f->left)
        return err_set(err, -ENOSPC, "no room: %llu MiB are left for checkpoints",
                       (unsigned long long)(f->left >> 20));
    f->left -= size;
    if (f->upload != NULL)
        return image_upload_write(f->upload, data, size, err);
    return write(f->fd, data, size) == (ssize_t)size ? 0
                                                     : err_set(err, -ENOSPC, "no room on the disk");
}

/* Up to `size` bytes, fewer only at the end that the source makes. */
static ssize_t read_full(int fd, uint8_t *ret, size_t size, struct err *err)
{
    size_t at = 0;

    while (at < size) {
        ssize_t n = read(fd, ret + at, size - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, -errno, "its stream broke: %s", strerror(errno));
        if (n == 0)
            break;
        at += (size_t)n;
    }
    return (ssize_t)at;
}

/* `chunk`, of which `n` bytes are read already, and all that comes behind. */
static int copy(int fd, uint8_t *chunk, ssize_t n, struct filling *to, struct err *err)
{
    int rc = n > 0 ? fill(to, chunk, (size_t)n, err) : 0;

    while (rc == 0 && (n = read_full(fd, chunk, CHUNK, err)) > 0)
        rc = fill(to, chunk, (size_t)n, err);
    return rc < 0 ? rc : (int)n;
}

/* Reads it as whoever resumes from it will. */
static int verify(const struct checkpoints *checkpoints, const struct receipt *receipt,
                  struct err *err)
{
    cleanup_free struct stream_in *in = malloc(sizeof(*in));
    cleanup_close int fd = checkpoints_read(checkpoints, receipt->digest);
    struct stream_record record = {0};
    int rc;

    if (in == NULL || fd < 0)
        return err_set(err, in == NULL ? -ENOMEM : fd, "it cannot be read again");
    rc = stream_in_start(in, fd, err);
    while (rc == 0 && record.type != STREAM_END)
        rc = stream_in_next(in, &record, err);
    if (rc == 0 && in->n_bytes != receipt->size)
        rc = err_set(err, -EBADMSG, "more came than a checkpoint");
    return rc;
}

/* Into the store. Should it be dropped before this says that it is coming, it cannot be read. */
static int finish(struct errand *errand, struct image_upload *upload, struct err *err)
{
    struct checkpoints *checkpoints = errand->checkpoints;
    struct receipt *receipt = &errand->receipt;
    int rc = image_upload_finish(upload, NULL, receipt->digest, &receipt->size, err);

    if (rc < 0)
        return rc;
    uv_mutex_lock(&checkpoints->lock);
    memcpy(errand->coming, receipt->digest, DIGEST_SIZE);
    uv_mutex_unlock(&checkpoints->lock);
    rc = verify(checkpoints, receipt, err);
    if (rc < 0)
        image_store_drop(checkpoints->store, receipt->digest, NULL);
    /* An increment is never larger than what it continues, and needs room for both. */
    receipt->may_continue = rc == 0 && room_of(checkpoints) / 2 >= receipt->size;
    return rc;
}

/* What it continues is here, and it stands behind that from now on. */
static int merge(struct errand *errand, const uint8_t since[DIGEST_SIZE], int increment,
                 struct filling *f, struct err *err)
{
    cleanup_close int before = checkpoints_read(errand->checkpoints, since);
    const struct merge_sink sink = {fill, f};

    if (before < 0)
        return err_set(err, before, "the checkpoint that it continues is not here");
    if (lseek(increment, 0, SEEK_SET) < 0)
        return err_set(err, -errno, "it cannot be read again: %s", strerror(errno));
    return merge_streams(before, increment, &sink, err);
}

/* Aside at first, so that what does not come whole costs no more than its own size. */
static int take_increment(struct errand *errand, const uint8_t since[DIGEST_SIZE], uint8_t *chunk,
                          ssize_t n, struct filling *f, struct err *err)
{
    cleanup_close int fd =
        open(errand->checkpoints->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    struct filling aside = {.fd = fd, .left = f->left};
    int rc;

    if (fd < 0)
        return err_set(err, -errno, "cannot write to %s: %s", errand->checkpoints->directory,
                       strerror(errno));
    rc = copy(errand->fd, chunk, n, &aside, err);
    f->left = aside.left;
    return rc < 0 ? rc : merge(errand, since, fd, f, err);
}

static int take(struct errand *errand, struct filling *f, struct err *err)
{
    cleanup_free uint8_t *chunk = malloc(CHUNK);
    uint8_t since[DIGEST_SIZE];
    ssize_t n;

    if (chunk == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    n = read_full(errand->fd, chunk, CHECKPOINT_HEAD, err);
    if (n < 0)
        return (int)n;
    return stream_head_since(chunk, (size_t)n, since)
               ? take_increment(errand, since, chunk, n, f, err)
               : copy(errand->fd, chunk, n, f, err);
}

static int keep(struct errand *errand, struct err *err)
{
    struct checkpoints *checkpoints = errand->checkpoints;
    struct filling f = {.left = room_of(checkpoints)};
    int rc = image_store_begin(checkpoints->store, &f.upload, err);

    if (rc < 0)
        return rc;
    rc = take(errand, &f, err);
    if (rc == 0)
        return finish(errand, f.upload, err);
    image_upload_abort(f.upload);
    return rc;
}

static void answer(int fd, const struct receipt *receipt)
{
    uint8_t bytes[RECEIPT_MAX_SIZE];
    struct writer w;

    writer_init(&w, bytes, sizeof(bytes));
    receipt_encode(receipt, &w);
    if (!w.failed)
        (void)!send(fd, bytes, w.size, MSG_NOSIGNAL); /* a few bytes: at once, or nobody is there */
}

/* The source reads no answer before it has sent all. */
static void drain(int fd)
{
    uint8_t chunk[4096];
    ssize_t n;

    do
        n = read(fd, chunk, sizeof(chunk));
    while (n > 0 || (n < 0 && errno == EINTR));
}

static void receive(struct errand *errand)
{
    struct err err = {0};

    errand->status = keep(errand, &err);
    errand->receipt.is_kept = errand->status == 0;
    if (errand->status < 0) {
        memset(errand->receipt.digest, 0, DIGEST_SIZE);
        memcpy(errand->receipt.text, err.text, sizeof(errand->receipt.text));
        drain(errand->fd);
    }
    answer(errand->fd, &errand->receipt);
}

static void await(struct errand *errand)
{
    uint8_t bytes[RECEIPT_MAX_SIZE];
    size_t size = 0;
    ssize_t n = 0;

    do {
        n = read(errand->fd, bytes + size, sizeof(bytes) - size);
        size += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && size < sizeof(bytes)) || (n < 0 && errno == EINTR));
    errand->status = n < 0 ? -errno : receipt_decode(bytes, size, &errand->receipt);
}

/* ---- on the main thread */

static void note_newest(struct checkpoints *checkpoints, const struct errand *errand)
{
    size_t at = 0;

    while (at < checkpoints->n_newest && checkpoints->newest[at].guest != errand->guest)
        at++;
    if (at == MAX_NEWEST)
        at = 0;
    if (at < checkpoints->n_newest)
        memmove(&checkpoints->newest[at], &checkpoints->newest[at + 1],
                (--checkpoints->n_newest - at) * sizeof(checkpoints->newest[0]));
    checkpoints->newest[checkpoints->n_newest].guest = errand->guest;
    memcpy(checkpoints->newest[checkpoints->n_newest++].digest, errand->receipt.digest,
           DIGEST_SIZE);
}

static void list(struct errand *errand)
{
    struct checkpoints *checkpoints = errand->checkpoints;

    uv_mutex_lock(&checkpoints->lock);
    errand->next = checkpoints->errands;
    checkpoints->errands = errand;
    uv_mutex_unlock(&checkpoints->lock);
    checkpoints->n_errands++;
}

static void unlist(struct errand *errand)
{
    struct checkpoints *checkpoints = errand->checkpoints;
    struct errand **at = &checkpoints->errands;

    uv_mutex_lock(&checkpoints->lock);
    while (*at != errand)
        at = &(*at)->next;
    *at = errand->next;
    uv_mutex_unlock(&checkpoints->lock);
    checkpoints->n_errands--;
}

static bool is_coming(struct checkpoints *checkpoints, const uint8_t digest[DIGEST_SIZE])
{
    bool found = false;

    uv_mutex_lock(&checkpoints->lock);
    for (const struct errand *e = checkpoints->errands; e != NULL; e = e->next)
        found = found || memcmp(e->coming, digest, DIGEST_SIZE) == 0;
    uv_mutex_unlock(&checkpoints->lock);
    return found;
}

static void errand_done(void *argument)
{
    struct errand *errand = argument;

    uv_thread_join(&errand->thread);
    close(errand->fd);
    unlist(errand);
    if (errand->cb != NULL)
        errand->cb(errand->context, errand->status, &errand->receipt);
    else if (errand->status == 0)
        note_newest(errand->checkpoints, errand);
    free(errand);
}

static void run(void *argument)
{
    struct errand *errand = argument;

    if (errand->cb != NULL)
        await(errand);
    else
        receive(errand);
    /* There are no more errands than it holds. */
    mailbox_post(errand->checkpoints->mailbox, errand_done, errand);
}

/* False: too much is under way. */
static bool begin(const struct errand *wanted)
{
    struct checkpoints *checkpoints = wanted->checkpoints;
    struct timeval idle = {.tv_sec =
                               wanted->cb != NULL ? CHECKPOINTS_RECEIPT_S : CHECKPOINTS_IDLE_S};
    struct errand *errand =
        checkpoints->n_errands < CHECKPOINTS_MAX_ERRANDS ? malloc(sizeof(*errand)) : NULL;

    if (errand == NULL)
        return false;
    *errand = *wanted;
    setsockopt(errand->fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle));
    list(errand);
    if (uv_thread_create(&errand->thread, run, errand) == 0)
        return true;
    unlist(errand);
    free(errand);
    return false;
}

void checkpoints_receive(struct checkpoints *checkpoints, uint64_t guest, int fd)
{
    struct errand errand = {.checkpoints = checkpoints, .guest = guest, .fd = fd};
    struct receipt receipt = {.text = "too many checkpoints come at once"};

    if (begin(&errand))
        return;
    answer(fd, &receipt);
    close(fd);
}

void checkpoints_await(struct checkpoints *checkpoints, int fd, checkpoint_receipt_cb cb,
                       void *context)
{
    struct errand errand = {.checkpoints = checkpoints, .fd = fd, .cb = cb, .context = context};

    if (begin(&errand))
        return;
    close(fd);
    cb(context, -ENOBUFS, &errand.receipt);
}

struct retaining {
    struct checkpoints *checkpoints;
    bool (*is_wanted)(void *context, const uint8_t digest[DIGEST_SIZE]);
    void *context;
};

static void drop_unwanted(void *context, const uint8_t digest[DIGEST_SIZE])
{
    struct retaining *r = context;

    if (r->is_wanted(r->context, digest) || is_coming(r->checkpoints, digest))
        return;
    for (size_t i = 0; i < r->checkpoints->n_newest; i++) {
        if (memcmp(r->checkpoints->newest[i].digest, digest, DIGEST_SIZE) == 0)
            return;
    }
    image_store_drop(r->checkpoints->store, digest, NULL);
}

void checkpoints_retain(struct checkpoints *checkpoints,
                        bool (*is_wanted)(void *context, const uint8_t digest[DIGEST_SIZE]),
                        void *context)
{
    struct retaining r = {checkpoints, is_wanted, context};

    /* What the state names is held by that from now on. */
    for (size_t i = checkpoints->n_newest; i-- > 0;) {
        if (!is_wanted(context, checkpoints->newest[i].digest))
            continue;
        checkpoints->n_newest--;
        memmove(&checkpoints->newest[i], &checkpoints->newest[i + 1],
                (checkpoints->n_newest - i) * sizeof(checkpoints->newest[0]));
    }
    image_store_list(checkpoints->store, drop_unwanted, &r, NULL);
}
