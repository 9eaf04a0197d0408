#include "migrate/images_criu.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"

int images_send_content(struct stream_out *out, int fd, size_t size, struct err *err)
{
    void *content;
    int r;

    if (size == 0)
        return 0;
    content = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (content == MAP_FAILED)
        return err_set(err, -errno, "cannot map a file of the guest: %s", strerror(errno));
    r = stream_out_data(out, content, size, err);
    munmap(content, size);
    return r;
}

static int send_file(struct stream_out *out, int directory, const char *name, struct err *err)
{
    cleanup_close int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    int r;

    if (fd < 0 || fstat(fd, &status) < 0)
        return err_set(err, -errno, "cannot read %s: %s", name, strerror(errno));
    r = stream_out_file(out, name, err);
    return r < 0 ? r : images_send_content(out, fd, (size_t)status.st_size, err);
}

static bool is_image(const char *name)
{
    size_t size = strlen(name);

    return size > 4 && strcmp(name + size - 4, ".img") == 0;
}

int images_send_small(struct stream_out *out, DIR *images, const struct pages *pages,
                      struct err *err)
{
    struct dirent *entry;
    int r = 0;

    while (r == 0 && (entry = readdir(images)) != NULL) {
        if (is_image(entry->d_name) && !pages_has_sent(pages, entry->d_name))
            r = send_file(out, dirfd(images), entry->d_name, err);
    }
    return r;
}
