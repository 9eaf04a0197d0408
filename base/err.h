/* err: an error with words for an operator.
 *
 * A function that can fail returns a negative errno and, as its last argument, takes a `struct err
 * *` (may be NULL) that it fills with one line: what failed, why, and where possible what to do.
 * Nothing allocates; the buffer is the caller's.
 */
#ifndef SKEIN_BASE_ERR_H
#define SKEIN_BASE_ERR_H

enum { ERR_TEXT_SIZE = 256 };

struct err {
    int code; /* negative errno, 0 while nothing failed */
    char text[ERR_TEXT_SIZE];
};

/* Fills `err` (which may be NULL) and returns `code`, so that a caller can write
 * `return err_set(err, -EINVAL, "…")`. Text that does not fit is cut. */
int err_set(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text that is already in `err`, returns err->code. */
int err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
