#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

void reader_init(struct reader *r, const void *data, size_t size)
{
    *r = (struct reader){.data = data, .size = size};
}

void reader_fail(struct reader *r)
{
    r->failed = true;
}

bool reader_done(const struct reader *r)
{
    return !r->failed && r->at == r->size;
}

static const uint8_t *take(struct reader *r, size_t size)
{
    const uint8_t *p;

    if (r->failed || size > r->size - r->at) {
        r->failed = true;
        return NULL;
    }
    p = r->data + r->at;
    r->at += size;
    return p;
}

static uint64_t read_little_endian(struct reader *r, size_t size)
{
    const uint8_t *p = take(r, size);
    uint64_t v = 0;

    for (size_t i = 0; p != NULL && i < size; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t read_u8(struct reader *r)
{
    return (uint8_t)read_little_endian(r, 1);
}

uint16_t read_u16(struct reader *r)
{
    return (uint16_t)read_little_endian(r, 2);
}

uint32_t read_u32(struct reader *r)
{
    return (uint32_t)read_little_endian(r, 4);
}

uint64_t read_u64(struct reader *r)
{
    return read_little_endian(r, 8);
}

bool read_bool(struct reader *r)
{
    uint8_t v = read_u8(r);

    if (v > 1)
        r->failed = true;
    return !r->failed && v == 1;
}

void read_bytes(struct reader *r, void *ret, size_t size)
{
    const uint8_t *p = take(r, size);

    if (p != NULL && size > 0)
        memcpy(ret, p, size);
    else if (size > 0)
        memset(ret, 0, size);
}

void read_string(struct reader *r, char *ret, size_t capacity)
{
    size_t size = read_u16(r);
    const uint8_t *p;

    ret[0] = '\0';
    if (r->failed)
        return;
    if (size >= capacity) {
        r->failed = true;
        return;
    }
    p = take(r, size);
    if (p == NULL || memchr(p, '\0', size) != NULL) {
        r->failed = true;
        return;
    }
    memcpy(ret, p, size);
    ret[size] = '\0';
}

uint32_t read_count(struct reader *r, uint32_t max)
{
    uint32_t n = read_u32(r);

    if (n > max)
        r->failed = true;
    return r->failed ? 0 : n;
}

void writer_init(struct writer *w, void *buffer, size_t capacity)
{
    *w = (struct writer){.data = buffer, .capacity = capacity};
}

void writer_init_growing(struct writer *w, size_t limit)
{
    *w = (struct writer){.capacity = limit, .growing = true};
}

void writer_deinit(struct writer *w)
{
    if (w->growing)
        free(w->data);
    *w = (struct writer){0};
}

uint8_t *writer_steal(struct writer *w, size_t *ret_size)
{
    uint8_t *data = w->data;

    if (w->failed) {
        writer_deinit(w);
        return NULL;
    }
    if (data == NULL)
        data = malloc(1);
    *ret_size = w->size;
    *w = (struct writer){0};
    return data;
}

/* A growing buffer is always the next power of two (64 at least) above its size. */
static size_t room_for(size_t size)
{
    size_t room = 64;

    while (room < size)
        room *= 2;
    return room;
}

static uint8_t *put(struct writer *w, size_t size)
{
    uint8_t *p;

    if (w->failed || size > w->capacity - w->size) {
        w->failed = true;
        return NULL;
    }
    if (w->growing && (w->data == NULL || room_for(w->size + size) > room_for(w->size))) {
        p = realloc(w->data, room_for(w->size + size));
        if (p == NULL) {
            w->failed = true;
            return NULL;
        }
        w->data = p;
    }
    p = w->data + w->size;
    w->size += size;
    return p;
}

static void write_little_endian(struct writer *w, uint64_t v, size_t size)
{
    uint8_t *p = put(w, size);

    for (size_t i = 0; p != NULL && i < size; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

void write_u8(struct writer *w, uint8_t v)
{
    write_little_endian(w, v, 1);
}

void write_u16(struct writer *w, uint16_t v)
{
    write_little_endian(w, v, 2);
}

void write_u32(struct writer *w, uint32_t v)
{
    write_little_endian(w, v, 4);
}

void write_u64(struct writer *w, uint64_t v)
{
    write_little_endian(w, v, 8);
}

void write_bool(struct writer *w, bool v)
{
    write_u8(w, v ? 1 : 0);
}

void write_bytes(struct writer *w, const void *data, size_t size)
{
    uint8_t *p = put(w, size);

    if (p != NULL && size > 0)
        memcpy(p, data, size);
}

void write_string(struct writer *w, const char *text)
{
    size_t size = strlen(text);

    if (size > UINT16_MAX) {
        w->failed = true;
        return;
    }
    write_u16(w, (uint16_t)size);
    write_bytes(w, text, size);
}
