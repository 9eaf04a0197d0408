#include "agent/guest/vm_store_xen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clean.h"

#define STORE "/dev/xen/xenbus"
/* Of the UUIDs of guests' domains: agent/guard/domctl.c. */
#define OURS "/vm/736b6569-6e0"

/* Of the store's protocol (Xen: docs/misc/xenstore.txt): a head of four numbers, then the text. */
enum { ASK_DIRECTORY = 1, ASK_READ = 2, ASK_REMOVE = 13, ANSWER_ERROR = 16 };
enum { HEAD_SIZE = 16, TEXT_MAX = 4096, PATH_MAX_SIZE = 160 };

static bool read_all(int fd, void *ret, size_t size)
{
    uint8_t *at = ret;

    while (size > 0) {
        ssize_t n = read(fd, at, size);

        if (n <= 0 && errno != EINTR)
            return false;
        at += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* Returns the length of the answer's text, which a NUL ends; negative errno. */
static ssize_t ask(int fd, uint32_t what, const char *path, char ret[TEXT_MAX + 1])
{
    uint8_t bytes[HEAD_SIZE + PATH_MAX_SIZE];
    uint32_t size = (uint32_t)strlen(path) + 1, answer;
    struct writer w;
    struct reader r;

    writer_init(&w, bytes, sizeof(bytes));
    write_u32(&w, what);
    write_u32(&w, 0);
    write_u32(&w, 0);
    write_u32(&w, size);
    write_bytes(&w, path, size);
    if (w.failed)
        return -ENAMETOOLONG;
    if (write(fd, bytes, w.size) != (ssize_t)w.size || !read_all(fd, bytes, HEAD_SIZE))
        return -EIO;
    reader_init(&r, bytes, HEAD_SIZE);
    answer = read_u32(&r);
    (void)read_u64(&r);
    size = read_u32(&r);
    if (size > TEXT_MAX || !read_all(fd, ret, size))
        return -EIO;
    ret[size] = '\0';
    if (answer == ANSWER_ERROR)
        return strcmp(ret, "ENOENT") == 0 ? -ENOENT : -EREMOTEIO;
    return answer == what ? (ssize_t)size : -EPROTO;
}

static bool says(int fd, const char *domain, const char *entry, const char *begins, bool is_whole)
{
    char path[PATH_MAX_SIZE], text[TEXT_MAX + 1];

    snprintf(path, sizeof(path), "/local/domain/%.16s/%s", domain, entry);
    if (ask(fd, ASK_READ, path, text) < 0)
        return false;
    return is_whole ? strcmp(text, begins) == 0 : strncmp(text, begins, strlen(begins)) == 0;
}

static int forget_path(int fd, const char *path)
{
    char text[TEXT_MAX + 1];
    ssize_t rc = ask(fd, ASK_REMOVE, path, text);

    return rc < 0 && rc != -ENOENT ? (int)rc : 0;
}

/* Its ends here first: they look at the others. */
static int forget_domain(int fd, const char *domain)
{
    static const char *const ends[] = {"vif", "vbd", "console", "vkbd", "vfb"};
    char vm[TEXT_MAX + 1], path[PATH_MAX_SIZE];
    int rc = 0;

    snprintf(path, sizeof(path), "/local/domain/%.16s/vm", domain);
    if (ask(fd, ASK_READ, path, vm) < 0)
        return 0;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]) && rc == 0; i++) {
        snprintf(path, sizeof(path), "/local/domain/0/backend/%s/%.16s", ends[i], domain);
        rc = forget_path(fd, path);
    }
    snprintf(path, sizeof(path), "/libxl/%.16s", domain);
    if (rc == 0)
        rc = forget_path(fd, path);
    if (rc == 0)
        rc = forget_path(fd, vm);
    snprintf(path, sizeof(path), "/local/domain/%.16s", domain);
    return rc < 0 ? rc : forget_path(fd, path);
}

int vm_store_forget(const char *guest, struct err *err)
{
    cleanup_close int fd = open(STORE, O_RDWR | O_CLOEXEC);
    char all[TEXT_MAX + 1];
    ssize_t size;
    int rc = 0;

    if (fd < 0)
        return errno == ENOENT || errno == ENODEV
                   ? 0
                   : err_set(err, -errno, "cannot open " STORE ": %s", strerror(errno));
    size = ask(fd, ASK_DIRECTORY, "/local/domain", all);
    for (const char *domain = all; rc == 0 && size > 0 && domain < all + size;
         domain += strlen(domain) + 1) {
        if (says(fd, domain, "name", guest, true) && says(fd, domain, "vm", OURS, false))
            rc = forget_domain(fd, domain);
    }
    if (size < 0 && size != -ENOENT)
        rc = (int)size;
    return rc < 0 ? err_set(err, rc, "Xen's store does not forget it: %s", strerror(-rc)) : 0;
}
