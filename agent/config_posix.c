#include "agent/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clean.h"

enum { CONFIG_FILE_MAX = 64 * 1024 };

int config_load_file(struct config *config, const char *path, struct err *err)
{
    char text[CONFIG_FILE_MAX];
    size_t size = 0;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    while (size < sizeof(text)) {
        ssize_t n = read(fd, text + size, sizeof(text) - size);

        if (n < 0)
            return err_set(err, -errno, "%s: %s", path, strerror(errno));
        if (n == 0)
            break;
        size += (size_t)n;
    }
    if (size == sizeof(text))
        return err_set(err, -EFBIG, "%s: larger than %d bytes", path, CONFIG_FILE_MAX - 1);
    text[size] = '\0';
    return config_parse(config, path, text, err);
}

/* The value of --config, or NULL. */
static const char *flag_config(int argc, char *const argv[])
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0)
            return argv[i] + 9;
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            return argv[i + 1];
    }
    return NULL;
}

int config_load(struct config *ret, int argc, char *const argv[], struct err *err)
{
    const char *file = flag_config(argc, argv);
    char joined[CONFIG_PATH_SIZE + 16];
    struct config flags;
    int rc;

    config_init(ret);
    rc = config_load_file(ret, file != NULL ? file : CONFIG_DEFAULT_FILE, err);
    if (rc < 0 && (file != NULL || rc != -ENOENT))
        return rc;
    flags = *ret; /* data_dir may be a flag */
    rc = config_parse_flags(&flags, argc, argv, err);
    if (rc < 0)
        return rc;
    snprintf(joined, sizeof(joined), "%s/join.conf", flags.data_dir);
    rc = config_load_file(ret, joined, err);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    rc = config_parse_flags(ret, argc, argv, err);
    if (rc < 0)
        return rc;
    return config_check(ret, err);
}
