#include "base/kernel_linux.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clean.h"

enum { SOFT_DIRTY_BIT = 55 };

static bool is_soft_dirty(const void *page, int pagemap)
{
    uint64_t entry = 0;
    off_t at = (off_t)((uintptr_t)page / (uintptr_t)sysconf(_SC_PAGESIZE) * sizeof(entry));

    return pread(pagemap, &entry, sizeof(entry), at) == (ssize_t)sizeof(entry) &&
           (entry >> SOFT_DIRTY_BIT & 1) != 0;
}

/* Tried on a page of this process: clean after the marks are cleared, dirty after a write. */
bool kernel_tracks_dirty(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    volatile char *page =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cleanup_close int clear = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    cleanup_close int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    bool works = false;

    if (page == MAP_FAILED)
        return false;
    page[0] = 1;
    if (clear >= 0 && pagemap >= 0 && write(clear, "4", 1) == 1) {
        works = !is_soft_dirty((const void *)page, pagemap);
        page[0] = 2;
        works = works && is_soft_dirty((const void *)page, pagemap);
    }
    munmap((void *)page, size);
    return works;
}

/* For faults of user mode only, since that needs no privilege. */
bool kernel_has_userfaultfd(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}
