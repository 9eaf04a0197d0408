/* clean: locals that clean up after themselves (the cleanup attribute of GCC and clang).
 *
 *     cleanup_close int fd = open(…);
 *     …
 *     *ret_fd = steal_fd(&fd);
 */
#ifndef SKEIN_BASE_CLEAN_H
#define SKEIN_BASE_CLEAN_H

#include <stdlib.h>
#include <unistd.h>

static inline void clean_free(void *p)
{
    free(*(void **)p);
}

static inline void clean_close(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline int steal_fd(int *fd)
{
    int stolen = *fd;

    *fd = -1;
    return stolen;
}

static inline void *steal_pointer_(void *p)
{
    void *stolen = *(void **)p;

    *(void **)p = NULL;
    return stolen;
}

#define steal(p)      ((__typeof__(*(p)))steal_pointer_(p))
#define cleanup_free  __attribute__((cleanup(clean_free)))
#define cleanup_close __attribute__((cleanup(clean_close)))

#endif
