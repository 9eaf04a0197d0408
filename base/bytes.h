/* bytes: bounded reader and writer for every format of ours (log entries, snapshots, messages).
 *
 * Little-endian, no padding, no struct is ever copied. Both are sticky: after the first failure
 * every further call does nothing (a read returns 0), so that a codec checks once, at its end.
 */
#ifndef SKEIN_BASE_BYTES_H
#define SKEIN_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    const uint8_t *data; /* borrowed */
    size_t size;
    size_t at;
    bool failed; /* read past the end, or a value outside its bounds */
};

struct writer {
    uint8_t *data; /* the writer's own when growing, else borrowed */
    size_t capacity;
    size_t size;
    bool failed;  /* no room, or no memory */
    bool growing; /* reallocates `data`; writer_deinit or writer_steal ends its life */
};

void reader_init(struct reader *r, const void *data, size_t size);
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
bool read_bool(struct reader *r); /* fails on anything but 0 and 1 */
/* Copies exactly `size` bytes; zeroes them on failure. */
void read_bytes(struct reader *r, void *ret, size_t size);
/* u16 length and bytes -> NUL-terminated text. Fails when it does not fit `capacity` (NUL included)
 * or holds a NUL; ret is "" then. */
void read_string(struct reader *r, char *ret, size_t capacity);
/* A count (u32) that must be <= max; 0 on failure. */
uint32_t read_count(struct reader *r, uint32_t max);
/* Marks the reader failed, for checks of the caller's own. */
void reader_fail(struct reader *r);
/* True when nothing failed and every byte was read: the check at the end of a decoder. */
bool reader_done(const struct reader *r);

/* Over the caller's buffer; fails when it is full. */
void writer_init(struct writer *w, void *buffer, size_t capacity);
/* On the heap, growing up to `limit` bytes. */
void writer_init_growing(struct writer *w, size_t limit);
void writer_deinit(struct writer *w);
/* Hands the heap buffer of a growing writer to the caller (who frees it), NULL after a failure. */
uint8_t *writer_steal(struct writer *w, size_t *ret_size);
void write_u8(struct writer *w, uint8_t v);
void write_u16(struct writer *w, uint16_t v);
void write_u32(struct writer *w, uint32_t v);
void write_u64(struct writer *w, uint64_t v);
void write_bool(struct writer *w, bool v);
void write_bytes(struct writer *w, const void *data, size_t size);
void write_string(struct writer *w, const char *text);

#endif
