#include "migrate/merge_sodium.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clean.h"
#include "migrate/increment.h"
#include "migrate/stream_sodium.h"

struct merging {
    const struct merge_sink *sink;
    struct stream_grammar out;
    struct digest digest;
    char guest[NAME_SIZE];
    bool is_copying; /* DATA of what began last */
    bool is_last;    /* before: past its rounds */
    struct stream_in in;
};

static int put(struct merging *m, const void *data, size_t size, struct err *err)
{
    digest_update(&m->digest, data, size);
    return size == 0 ? 0 : m->sink->write(m->sink->context, data, size, err);
}

static int put_record(struct merging *m, enum stream_type type, const void *payload, uint32_t size,
                      struct err *err)
{
    struct stream_record record = {.type = type, .size = size};
    uint8_t header[STREAM_HEADER_SIZE];
    int r = stream_accept(&m->out, &record, payload, err);

    stream_record_encode(&record, header);
    if (r == 0)
        r = put(m, header, sizeof(header), err);
    return r < 0 ? r : put(m, payload, size, err);
}

static int put_round(struct merging *m, uint8_t round, struct err *err)
{
    return put_record(m, STREAM_ROUND, &round, 1, err);
}

static int put_as_it_is(struct merging *m, const struct stream_record *record, struct err *err)
{
    return put_record(m, record->type, m->in.payload, record->size, err);
}

static int put_end(struct merging *m, struct err *err)
{
    uint8_t n_data[8], digest[DIGEST_SIZE];
    struct writer w;
    int r;

    writer_init(&w, n_data, sizeof(n_data));
    write_u64(&w, m->out.n_data);
    r = put_record(m, STREAM_END, n_data, sizeof(n_data), err);
    if (r < 0)
        return r;
    digest_final(&m->digest, digest);
    return m->sink->write(m->sink->context, digest, sizeof(digest), err);
}

/* ---- what came before */

/* Its guest as it stood still then is one more round. */
static int begin_last(struct merging *m, struct err *err)
{
    m->is_last = true;
    return put_round(m, (uint8_t)(m->out.n_rounds + 1), err);
}

static int take_file(struct merging *m, const struct stream_record *record, struct err *err)
{
    bool is_in_round = m->in.grammar.is_round;
    char name[STREAM_NAME_SIZE] = {0};
    int r = is_in_round || m->is_last ? 0 : begin_last(m, err);

    memcpy(name, m->in.payload, record->size); /* the grammar saw to its length */
    m->is_copying = is_in_round || increment_is_memory(name);
    return r < 0 || !m->is_copying ? r : put_as_it_is(m, record, err);
}

static int take_guest(struct merging *m, const struct stream_record *record, struct err *err)
{
    memcpy(m->guest, m->in.payload, record->size);
    return put_as_it_is(m, record, err);
}

static int take_before(struct merging *m, const struct stream_record *record, struct err *err)
{
    switch (record->type) {
    case STREAM_GUEST:
        return take_guest(m, record, err);
    case STREAM_ROUND:
        m->is_copying = false;
        return m->in.payload[0] == 0 ? begin_last(m, err) : put_as_it_is(m, record, err);
    case STREAM_FILE:
        return take_file(m, record, err);
    case STREAM_DATA:
    case STREAM_PACKED:
        return m->is_copying ? put_as_it_is(m, record, err) : 0;
    case STREAM_TREE:
    case STREAM_LOG:
        m->is_copying = false;
        return 0;
    case STREAM_END:
        return m->is_last ? 0 : err_set(err, -EBADMSG, "the checkpoint before it holds no memory");
    case STREAM_LAZY:
    case STREAM_AHEAD:
    case STREAM_SINCE:
        break;
    }
    return err_set(err, -EBADMSG, "the checkpoint before it does not stand for itself");
}

/* ---- the increment */

static int check_guest(const struct merging *m, const struct stream_record *record, struct err *err)
{
    if (record->size == strlen(m->guest) && memcmp(m->in.payload, m->guest, record->size) == 0)
        return 0;
    return err_set(err, -EBADMSG, "the checkpoint before it is of another guest");
}

static int take_increment(struct merging *m, const struct stream_record *record, struct err *err)
{
    switch (record->type) {
    case STREAM_GUEST:
        return check_guest(m, record, err);
    case STREAM_SINCE:
        return put_round(m, 0, err);
    case STREAM_END:
        return put_end(m, err);
    default: /* the grammar knows what may follow SINCE */
        if (!m->in.grammar.is_increment)
            return err_set(err, -EBADMSG, "it does not say which checkpoint it continues");
        return put_as_it_is(m, record, err);
    }
}

static int take_all(struct merging *m, int fd,
                    int (*take)(struct merging *, const struct stream_record *, struct err *),
                    struct err *err)
{
    struct stream_record record = {0};
    int r = stream_in_start(&m->in, fd, err);

    m->in.keeps_packed = true;
    while (r == 0 && record.type != STREAM_END) {
        r = stream_in_next(&m->in, &record, err);
        if (r == 0)
            r = take(m, &record, err);
    }
    return r;
}

int merge_streams(int before, int increment, const struct merge_sink *sink, struct err *err)
{
    cleanup_free struct merging *m = calloc(1, sizeof(*m));
    int r;

    if (m == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    m->sink = sink;
    digest_init(&m->digest);
    r = put(m, stream_magic, STREAM_MAGIC_SIZE, err);
    if (r == 0)
        r = take_all(m, before, take_before, err);
    return r < 0 ? r : take_all(m, increment, take_increment, err);
}
