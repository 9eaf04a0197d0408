#include "migrate/stream.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/limits.h"

const char stream_magic[STREAM_MAGIC_SIZE] = {'S', 'K', 'N', 'M', 'O', 'V', 'E', '3'};

void stream_record_encode(const struct stream_record *record, uint8_t ret[STREAM_HEADER_SIZE])
{
    struct writer w;

    writer_init(&w, ret, STREAM_HEADER_SIZE);
    write_u8(&w, (uint8_t)record->type);
    write_u32(&w, record->size);
}

int stream_record_decode(const uint8_t header[STREAM_HEADER_SIZE], struct stream_record *ret)
{
    struct reader r;
    uint8_t type;
    uint32_t size;

    reader_init(&r, header, STREAM_HEADER_SIZE);
    type = read_u8(&r);
    size = read_u32(&r);
    if (type < STREAM_GUEST || type > STREAM_SINCE || size > STREAM_DATA_MAX)
        return -EBADMSG;
    *ret = (struct stream_record){.type = (enum stream_type)type, .size = size};
    return 0;
}

bool stream_file_name_is_valid(const char *name)
{
    size_t size = strlen(name);

    if (size == 0 || size >= STREAM_NAME_SIZE || name[0] == '.')
        return false;
    for (size_t i = 0; i < size; i++) {
        if (!isalnum((unsigned char)name[i]) && strchr("._-", name[i]) == NULL)
            return false;
    }
    return true;
}

static bool accept_guest(struct stream_grammar *g, const struct stream_record *record)
{
    bool is_right = !g->has_guest && record->size > 0 && record->size < NAME_SIZE;

    g->has_guest = true;
    return is_right;
}

/* What it continues has all that may come before a guest stands still. */
static bool accept_since(struct stream_grammar *g, const struct stream_record *record)
{
    bool is_right = !g->is_increment && !g->has_log && !g->is_lazy && record->size == DIGEST_SIZE &&
                    (g->n_files | g->n_rounds | g->n_passes | g->trees) == 0;

    g->is_increment = true;
    return is_right;
}

static bool accept_file(struct stream_grammar *g, const struct stream_record *record,
                        const uint8_t *payload)
{
    char name[STREAM_NAME_SIZE] = {0};

    if (g->is_ahead || record->size >= sizeof(name) || ++g->n_files > STREAM_MAX_FILES)
        return false;
    memcpy(name, payload, record->size);
    g->is_open = true;
    return strlen(name) == record->size && stream_file_name_is_valid(name);
}

static bool accept_tree(struct stream_grammar *g, const struct stream_record *record,
                        const uint8_t *payload)
{
    uint32_t bit;

    if (record->size != 1 || payload[0] < STREAM_TREE_UPPER || payload[0] > STREAM_TREE_LAST)
        return false;
    if (g->is_ahead && payload[0] != STREAM_TREE_UPPER && payload[0] < STREAM_TREE_VOLUME)
        return false;
    bit = 1u << payload[0];
    if ((g->trees & bit) != 0)
        return false;
    g->trees |= bit;
    g->is_open = true;
    return true;
}

static bool accept_log(struct stream_grammar *g, const struct stream_record *record)
{
    bool is_right = !g->has_log && !g->is_ahead && record->size == 0;

    g->has_log = g->is_open = true;
    return is_right;
}

static bool accept_lazy(struct stream_grammar *g, const struct stream_record *record)
{
    bool is_right =
        !g->is_lazy && !g->is_round && !g->is_ahead && !g->is_increment && record->size == 0;

    g->is_lazy = true;
    g->is_open = false;
    return is_right;
}

static bool accept_round(struct stream_grammar *g, const struct stream_record *record,
                         const uint8_t *payload)
{
    bool is_next = record->size == 1 && payload[0] == g->n_rounds + 1 &&
                   payload[0] <= STREAM_MAX_ROUNDS && g->trees == 0 && !g->is_ahead &&
                   !g->is_increment && (g->n_rounds == 0 ? g->n_files == 0 : g->is_round);
    bool is_last = record->size == 1 && payload[0] == 0 && g->is_round;

    g->is_round = is_next;
    g->n_rounds += is_next;
    g->is_open = false;
    return is_next || is_last;
}

static bool accept_ahead(struct stream_grammar *g, const struct stream_record *record,
                         const uint8_t *payload)
{
    bool is_next = record->size == 1 && payload[0] == g->n_passes + 1 &&
                   payload[0] <= STREAM_MAX_PASSES && g->n_rounds == 0 && g->n_files == 0 &&
                   !g->has_log && !g->is_lazy && !g->is_increment &&
                   (g->is_ahead || (g->n_passes | g->trees) == 0);
    bool is_last = record->size == 1 && payload[0] == 0 && g->is_ahead;

    g->is_ahead = is_next;
    g->n_passes += is_next;
    g->ahead_trees |= g->trees;
    g->trees = 0;
    g->is_open = false;
    return is_next || is_last;
}

bool stream_has_tree(const struct stream_grammar *grammar, uint8_t tree)
{
    return tree <= STREAM_TREE_LAST && (grammar->ahead_trees & (1u << tree)) != 0;
}

uint32_t stream_packed_size(const struct stream_record *record, const uint8_t *payload)
{
    struct reader r;
    uint32_t size;

    reader_init(&r, payload, record->size);
    size = read_u32(&r);
    if (r.failed || record->size == STREAM_PACKED_HEADER || size > STREAM_DATA_MAX)
        return 0;
    return size;
}

static bool accept_packed(struct stream_grammar *g, const struct stream_record *record,
                          const uint8_t *payload)
{
    uint32_t size = stream_packed_size(record, payload);

    g->n_data += size;
    return g->is_open && size > 0;
}

static bool accept_end(struct stream_grammar *g, const struct stream_record *record,
                       const uint8_t *payload)
{
    struct reader r;
    uint64_t n_data;

    reader_init(&r, payload, record->size);
    n_data = read_u64(&r);
    g->has_ended = true;
    return reader_done(&r) && n_data == g->n_data && !g->is_round && !g->is_ahead;
}

static bool accept(struct stream_grammar *g, const struct stream_record *record,
                   const uint8_t *payload)
{
    if (g->has_ended || (!g->has_guest && record->type != STREAM_GUEST))
        return false;
    switch (record->type) {
    case STREAM_GUEST:
        return accept_guest(g, record);
    case STREAM_FILE:
        return accept_file(g, record, payload);
    case STREAM_TREE:
        return accept_tree(g, record, payload);
    case STREAM_LOG:
        return accept_log(g, record);
    case STREAM_LAZY:
        return accept_lazy(g, record);
    case STREAM_DATA:
        g->n_data += record->size;
        return g->is_open && record->size > 0;
    case STREAM_PACKED:
        return accept_packed(g, record, payload);
    case STREAM_END:
        return accept_end(g, record, payload);
    case STREAM_ROUND:
        return accept_round(g, record, payload);
    case STREAM_AHEAD:
        return accept_ahead(g, record, payload);
    case STREAM_SINCE:
        return accept_since(g, record);
    }
    return false;
}

int stream_accept(struct stream_grammar *grammar, const struct stream_record *record,
                  const uint8_t *payload, struct err *err)
{
    if (accept(grammar, record, payload))
        return 0;
    return err_set(err, -EBADMSG, "the migration stream is broken: record %d out of place or wrong",
                   record->type);
}

/* A record at `at`, all of it there; `at` moves behind it. */
static const uint8_t *head_record(const uint8_t *head, size_t size, size_t *at,
                                  enum stream_type type, uint32_t *ret_size)
{
    struct stream_record record;
    const uint8_t *payload = head + *at + STREAM_HEADER_SIZE;

    if (size - *at < STREAM_HEADER_SIZE || stream_record_decode(head + *at, &record) < 0 ||
        record.type != type || size - *at - STREAM_HEADER_SIZE < record.size)
        return NULL;
    *at += STREAM_HEADER_SIZE + record.size;
    *ret_size = record.size;
    return payload;
}

bool stream_head_since(const uint8_t *head, size_t size, uint8_t ret[DIGEST_SIZE])
{
    size_t at = STREAM_MAGIC_SIZE;
    const uint8_t *digest;
    uint32_t n;

    if (size < at || memcmp(head, stream_magic, STREAM_MAGIC_SIZE) != 0 ||
        head_record(head, size, &at, STREAM_GUEST, &n) == NULL)
        return false;
    digest = head_record(head, size, &at, STREAM_SINCE, &n);
    if (digest == NULL || n != DIGEST_SIZE)
        return false;
    memcpy(ret, digest, DIGEST_SIZE);
    return true;
}
