#include "migrate/stream_sodium.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clean.h"
#include "migrate/pack_zstd.h"

/* Pieces below PACK_MIN gain nothing; after one that cannot be packed, so many are sent as they
 * are: memory that is packed already costs little time so. */
enum { PACK_MIN = 1024, PLAIN_AFTER_FAILURE = 7, PACED = 16 * 1024 };

/* A pipe holds more, where it is one, so that the two sides wait for each other less often. */
static void widen(int fd)
{
    (void)fcntl(fd, F_SETPIPE_SZ, 1024 * 1024);
}

/* True: the call is worth another try. */
static bool may_go_on(int fd, short event)
{
    struct pollfd poll_fd = {.fd = fd, .events = event};

    if (errno == EAGAIN)
        poll(&poll_fd, 1, -1);
    return errno == EAGAIN || errno == EINTR;
}

/* What has left now takes so long at the rate that is allowed. */
static void keep_to_rate(const struct stream_out *out, size_t size)
{
    uint64_t us = out->rate_kbps != 0 ? size * 8000ull / out->rate_kbps : 0;

    if (us != 0)
        nanosleep(&(struct timespec){(time_t)(us / 1000000), (long)(us % 1000000) * 1000}, NULL);
}

static int write_all(struct stream_out *out, const uint8_t *data, size_t size, struct err *err)
{
    digest_update(&out->digest, data, size);
    while (size > 0) {
        size_t piece = out->rate_kbps != 0 && size > PACED ? PACED : size;
        ssize_t n = write(out->fd, data, piece);

        if (n < 0 && may_go_on(out->fd, POLLOUT))
            continue;
        if (n < 0)
            return err_set(err, -errno, "cannot send the guest: %s", strerror(errno));
        data += n;
        size -= (size_t)n;
        out->n_bytes += (uint64_t)n;
        keep_to_rate(out, (size_t)n);
    }
    return 0;
}

int stream_out_write(void *out, const void *data, size_t size, struct err *err)
{
    return stream_out_data(out, data, size, err);
}

int stream_out_flush(struct stream_out *out, struct err *err)
{
    size_t size = out->buffered;

    out->buffered = 0;
    return write_all(out, out->buffer, size, err);
}

static int put(struct stream_out *out, const void *data, size_t size, struct err *err)
{
    int r = out->buffered + size > STREAM_BUFFER ? stream_out_flush(out, err) : 0;

    if (r < 0)
        return r;
    if (size > STREAM_BUFFER / 2)
        return out->buffered > 0 && (r = stream_out_flush(out, err)) < 0
                   ? r
                   : write_all(out, data, size, err);
    memcpy(out->buffer + out->buffered, data, size);
    out->buffered += size;
    return 0;
}

static int put_record(struct stream_out *out, enum stream_type type, const void *data, size_t size,
                      struct err *err)
{
    struct stream_record record = {.type = type, .size = (uint32_t)size};
    uint8_t header[STREAM_HEADER_SIZE];
    int r;

    stream_record_encode(&record, header);
    r = put(out, header, sizeof(header), err);
    return r < 0 ? r : put(out, data, size, err);
}

int stream_out_start(struct stream_out *out, int fd, uint32_t rate_kbps, const char *guest,
                     struct err *err)
{
    int r;

    widen(fd);
    out->fd = fd;
    out->rate_kbps = rate_kbps;
    out->n_bytes = out->n_data = out->buffered = 0;
    out->n_plain = 0;
    digest_init(&out->digest);
    r = put(out, stream_magic, STREAM_MAGIC_SIZE, err);
    return r < 0 ? r : put_record(out, STREAM_GUEST, guest, strlen(guest), err);
}

int stream_out_file(struct stream_out *out, const char *name, struct err *err)
{
    if (!stream_file_name_is_valid(name))
        return err_set(err, -EINVAL, "a file of the guest's image has no plain name: %s", name);
    return put_record(out, STREAM_FILE, name, strlen(name), err);
}

int stream_out_tree(struct stream_out *out, enum stream_tree tree, struct err *err)
{
    uint8_t byte = (uint8_t)tree;

    return put_record(out, STREAM_TREE, &byte, 1, err);
}

int stream_out_log(struct stream_out *out, struct err *err)
{
    return put_record(out, STREAM_LOG, "", 0, err);
}

int stream_out_lazy(struct stream_out *out, struct err *err)
{
    return put_record(out, STREAM_LAZY, "", 0, err);
}

int stream_out_round(struct stream_out *out, uint32_t round, struct err *err)
{
    uint8_t byte = (uint8_t)round;

    return put_record(out, STREAM_ROUND, &byte, 1, err);
}

int stream_out_since(struct stream_out *out, const uint8_t digest[DIGEST_SIZE], struct err *err)
{
    return put_record(out, STREAM_SINCE, digest, DIGEST_SIZE, err);
}

int stream_out_ahead(struct stream_out *out, uint32_t pass, struct err *err)
{
    uint8_t byte = (uint8_t)pass;

    return put_record(out, STREAM_AHEAD, &byte, 1, err);
}

static int put_piece(struct stream_out *out, const uint8_t *data, size_t size, struct err *err)
{
    struct writer w;
    size_t packed = 0;

    if (size >= PACK_MIN && out->n_plain-- <= 0)
        packed = pack(out->packed + STREAM_PACKED_HEADER, size - STREAM_PACKED_HEADER, data, size);
    if (packed == 0) {
        if (out->n_plain < 0 && size >= PACK_MIN)
            out->n_plain = PLAIN_AFTER_FAILURE;
        return put_record(out, STREAM_DATA, data, size, err);
    }
    out->n_plain = 0;
    writer_init(&w, out->packed, STREAM_PACKED_HEADER);
    write_u32(&w, (uint32_t)size);
    return put_record(out, STREAM_PACKED, out->packed, STREAM_PACKED_HEADER + packed, err);
}

int stream_out_data(struct stream_out *out, const void *data, size_t size, struct err *err)
{
    const uint8_t *at = data;

    out->n_data += size;
    while (size > 0) {
        size_t part = size < STREAM_DATA_MAX ? size : STREAM_DATA_MAX;
        int r = put_piece(out, at, part, err);

        if (r < 0)
            return r;
        at += part;
        size -= part;
    }
    return 0;
}

int stream_out_end(struct stream_out *out, struct err *err)
{
    uint8_t n_data[8], digest[DIGEST_SIZE];
    struct writer w;
    int r;

    writer_init(&w, n_data, sizeof(n_data));
    write_u64(&w, out->n_data);
    r = put_record(out, STREAM_END, n_data, sizeof(n_data), err);
    if (r == 0)
        r = stream_out_flush(out, err);
    if (r < 0)
        return r;
    digest_final(&out->digest, digest);
    digest_init(&out->digest); /* the trailer is under no digest; write_all wants one */
    return write_all(out, digest, sizeof(digest), err);
}

static int read_all(struct stream_in *in, uint8_t *ret, size_t size, struct err *err)
{
    size_t at = 0;

    while (at < size) {
        ssize_t n = read(in->fd, ret + at, size - at);

        if (n < 0 && may_go_on(in->fd, POLLIN))
            continue;
        if (n < 0)
            return err_set(err, -errno, "cannot read the migration stream: %s", strerror(errno));
        if (n == 0)
            return err_set(err, -ECONNRESET, "the migration stream ended early, after %llu bytes",
                           (unsigned long long)in->n_bytes);
        at += (size_t)n;
        in->n_bytes += (uint64_t)n;
    }
    return 0;
}

static int read_and_digest(struct stream_in *in, uint8_t *ret, size_t size, struct err *err)
{
    int r = read_all(in, ret, size, err);

    if (r == 0)
        digest_update(&in->digest, ret, size);
    return r;
}

static int check_trailer(struct stream_in *in, struct err *err)
{
    uint8_t wanted[DIGEST_SIZE], actual[DIGEST_SIZE];
    int r = read_all(in, wanted, sizeof(wanted), err);

    if (r < 0)
        return r;
    digest_final(&in->digest, actual);
    if (memcmp(wanted, actual, sizeof(actual)) != 0)
        return err_set(err, -EBADMSG, "the migration stream was damaged on its way");
    return 0;
}

/* What another process has to know of a stream that is half written. */
struct left {
    struct digest digest;
    uint64_t n_bytes, n_data;
};

int stream_out_leave(struct stream_out *out, const char *path, struct err *err)
{
    struct left left;
    int r = stream_out_flush(out, err);
    cleanup_close int fd = -1;

    if (r < 0)
        return r;
    memset(&left, 0, sizeof(left));
    left.digest = out->digest;
    left.n_bytes = out->n_bytes;
    left.n_data = out->n_data;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, &left, sizeof(left)) != (ssize_t)sizeof(left))
        return err_set(err, fd < 0 ? -errno : -ENOSPC, "cannot write %s", path);
    return 0;
}

int stream_out_go_on(struct stream_out *out, int fd, uint32_t rate_kbps, const char *path,
                     struct err *err)
{
    cleanup_close int file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct left left;

    if (file < 0 || read(file, &left, sizeof(left)) != (ssize_t)sizeof(left))
        return err_set(err, file < 0 && errno == ENOENT ? -ENOENT : -EIO, "cannot read %s", path);
    out->fd = fd;
    out->rate_kbps = rate_kbps;
    out->digest = left.digest;
    out->n_bytes = left.n_bytes;
    out->n_data = left.n_data;
    out->buffered = 0;
    out->n_plain = 0;
    return 0;
}

int stream_in_start(struct stream_in *in, int fd, struct err *err)
{
    uint8_t magic[STREAM_MAGIC_SIZE];
    int r;

    widen(fd);
    in->fd = fd;
    in->keeps_packed = false;
    in->n_bytes = 0;
    in->grammar = (struct stream_grammar){0};
    digest_init(&in->digest);
    r = read_and_digest(in, magic, sizeof(magic), err);
    if (r == 0 && memcmp(magic, stream_magic, sizeof(magic)) != 0)
        r = err_set(err, -EBADMSG, "this is no migration stream of this version");
    return r;
}

/* Puts what a packed record stands for in its place. */
static int unpack_record(struct stream_in *in, struct stream_record *record, struct err *err)
{
    uint32_t size = stream_packed_size(record, in->payload);
    uint32_t packed = record->size - STREAM_PACKED_HEADER;

    memcpy(in->packed, in->payload + STREAM_PACKED_HEADER, packed);
    *record = (struct stream_record){.type = STREAM_DATA, .size = size};
    if (unpack(in->payload, size, in->packed, packed) < 0)
        return err_set(err, -EBADMSG, "the migration stream is broken: a piece cannot be unpacked");
    return 0;
}

int stream_in_next(struct stream_in *in, struct stream_record *ret, struct err *err)
{
    uint8_t header[STREAM_HEADER_SIZE];
    struct stream_record record;
    int r = read_and_digest(in, header, sizeof(header), err);

    if (r < 0)
        return r;
    if (stream_record_decode(header, &record) < 0)
        return err_set(err, -EBADMSG, "the migration stream is broken: no such record");
    r = read_and_digest(in, in->payload, record.size, err);
    if (r == 0)
        r = stream_accept(&in->grammar, &record, in->payload, err);
    if (r == 0 && record.type == STREAM_END)
        r = check_trailer(in, err);
    if (r == 0 && record.type == STREAM_PACKED && !in->keeps_packed)
        r = unpack_record(in, &record, err);
    if (r == 0)
        *ret = record;
    return r;
}
