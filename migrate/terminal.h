/* terminal: by what number CRIU knows a terminal that it takes as given, and the file beside its
 * images that carries this number to the target (pure).
 *
 * A dump names such a terminal "tty[RDEV:DEV]", as stat() has them, in hexadecimal; a restore has
 * to be told what stands in its place under the same words (criu(8), --external and --inherit-fd).
 */
#ifndef SKEIN_MIGRATE_TERMINAL_H
#define SKEIN_MIGRATE_TERMINAL_H

#include <stddef.h>
#include <stdint.h>

#define TERMINAL_IMAGE "terminal.img" /* travels as CRIU's own images do */

enum { TERMINAL_WORDS_SIZE = 48 };

/* The words, which are also the file's content. */
void terminal_write(uint64_t rdev, uint64_t dev, char ret[TERMINAL_WORDS_SIZE]);
/* -EBADMSG: no such file, as a whole. */
int terminal_read(const char *content, size_t size, char ret[TERMINAL_WORDS_SIZE]);

#endif
