/* presence: a process that outlives the job that made it, and that others have to find, to end and
 * to wait for: it keeps the reading end of a FIFO open. No number of a process is written down that
 * another process could bear later.
 */
#ifndef SKEIN_MIGRATE_PRESENCE_POSIX_H
#define SKEIN_MIGRATE_PRESENCE_POSIX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Makes the FIFO and opens its reading end, which the process that is to be found inherits: present
 * as long as it is open, asked to end when it becomes readable. A descriptor, or -errno. */
int presence_begin(const char *path, struct err *err);

/* Waits until nobody is present any more, at most limit_ms (negative: without limit). 1: there was
 * somebody; 0: nobody; -ETIMEDOUT. `asks`: they are asked to end first. */
int presence_wait(const char *path, bool asks, int limit_ms, struct err *err);

enum { PRESENCE_END = 0 }; /* what presence_wait asks with; other words are the process's own */

/* 1: somebody was there, and it was said; 0: nobody. presence_tell also waits until nobody is
 * present any more, without limit. */
int presence_say(const char *path, char word);
int presence_tell(const char *path, char word);
bool presence_is_there(const char *path);

/* Until `word` is left (presence_leave_word), or nobody is present at `path`: true, it is there. */
bool presence_await_word(const char *path, const char *word);

/* In the process that keeps `path`: the word that comes, or PRESENCE_END. */
char presence_listen(const char *path);

/* Forks; the child keeps `kept` and no other descriptor, and belongs to no job. As fork(2). */
pid_t presence_fork(const int *kept, size_t n_kept);

enum { PRESENCE_WORD_SIZE = 160 };

/* Its last word, for those who waited: leave, and read (false: there is none). */
void presence_leave_word(const char *path, const char *text);
bool presence_read_word(const char *path, char ret[PRESENCE_WORD_SIZE]);

#endif
