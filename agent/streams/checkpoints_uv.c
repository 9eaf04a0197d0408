#include "agent/streams/checkpoints_uv.h"

#include <errno.h>
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
#include "migrate/stream_sodium.h"

enum { MAX_NEWEST = 1024, CHUNK = 256 * 1024, FREE_MIB = 64 };

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
};

int checkpoints_new(uv_loop_t *loop, const char *directory, uint64_t limit,
                    struct checkpoints **ret, struct err *err)
{
    struct checkpoints *checkpoints = calloc(1, sizeof(*checkpoints));
    int rc;

    if (checkpoints == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    checkpoints->loop = loop;
    checkpoints->limit = limit;
    snprintf(checkpoints->directory, sizeof(checkpoints->directory), "%s", directory);
    rc = image_store_open(directory, &checkpoints->store, err);
    if (rc == 0 && mailbox_new(loop, 2 * CHECKPOINTS_MAX_ERRANDS, &checkpoints->mailbox) < 0) {
        image_store_close(checkpoints->store);
        rc = err_set(err, -ENOMEM, "out of memory");
    }
    if (rc < 0) {
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

/* Up to the end that the source makes. */
static int copy(int fd, struct image_upload *upload, uint64_t room, struct err *err)
{
    cleanup_free uint8_t *chunk = malloc(CHUNK);
    uint64_t size = 0;

    if (chunk == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    for (;;) {
        ssize_t n = read(fd, chunk, CHUNK);
        int rc;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? 0 : err_set(err, -errno, "its stream broke: %s", strerror(errno));
        size += (uint64_t)n;
        if (size > room)
            return err_set(err, -ENOSPC, "no room: %llu MiB are left for checkpoints",
                           (unsigned long long)(room >> 20));
        rc = image_upload_write(upload, chunk, (size_t)n, err);
        if (rc < 0)
            return rc;
    }
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

static int keep(struct errand *errand, struct err *err)
{
    struct checkpoints *checkpoints = errand->checkpoints;
    struct receipt *receipt = &errand->receipt;
    struct image_upload *upload;
    int rc = image_store_begin(checkpoints->store, &upload, err);

    if (rc < 0)
        return rc;
    rc = copy(errand->fd, upload, room_of(checkpoints), err);
    if (rc < 0) {
        image_upload_abort(upload);
        return rc;
    }
    rc = image_upload_finish(upload, NULL, receipt->digest, &receipt->size, err);
    if (rc == 0)
        rc = verify(checkpoints, receipt, err);
    if (rc < 0)
        image_store_drop(checkpoints->store, receipt->digest, NULL);
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

static void errand_done(void *argument)
{
    struct errand *errand = argument;

    uv_thread_join(&errand->thread);
    close(errand->fd);
    errand->checkpoints->n_errands--;
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
    if (uv_thread_create(&errand->thread, run, errand) != 0) {
        free(errand);
        return false;
    }
    checkpoints->n_errands++;
    return true;
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

    if (r->is_wanted(r->context, digest))
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
