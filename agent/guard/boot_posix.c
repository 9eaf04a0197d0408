#include "agent/guard/boot_posix.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "agent/guard/files_posix.h"

enum { BOOT_ID_SIZE = 40, KILL_LIMIT_MS = 10000, KILL_STEP_MS = 5, BOOT_PATH_SIZE = 160 };

/* The file: the nonce, then the kernel's boot id, for the case that RUN_DIR outlives a boot. */
struct nonce_file {
    uint8_t nonce[NONCE_SIZE];
    char boot_id[BOOT_ID_SIZE];
};

static void read_boot_id(char ret[BOOT_ID_SIZE])
{
    ssize_t n = file_read("/proc/sys/kernel/random/boot_id", ret, BOOT_ID_SIZE - 1, NULL);

    memset(ret + (n > 0 ? n : 0), 0, BOOT_ID_SIZE - (size_t)(n > 0 ? n : 0));
}

struct leftovers {
    struct cgroups *cgroups;
    uint32_t n;
};

static void kill_one(void *context, const char *name, bool stays)
{
    struct leftovers *left = context;

    cgroup_kill(left->cgroups, name, stays);
    if (cgroup_remove(left->cgroups, name, stays) < 0)
        left->n++;
}

static void find_name(void *context, const struct domain_name *name)
{
    *(struct domain_name *)context = *name;
}

/* One after the other: what is destroyed is not listed any more. */
static int destroy_earlier_domains(struct domains *domains, struct err *err)
{
    struct domain_name name;
    int rc;

    do {
        name = (struct domain_name){0};
        rc = domains_list(domains, find_name, &name);
        if (rc == 0 && name.created != 0)
            rc = domain_destroy(domains, &name);
    } while (rc == 0 && name.created != 0);
    return rc < 0 ? err_set(err, rc, "a guest's domain of an earlier boot does not die: %s",
                            strerror(-rc))
                  : 0;
}

/* Kills every guest group and waits until all are gone. */
static int end_earlier_guests(struct cgroups *cgroups, struct err *err)
{
    struct timespec step = {.tv_nsec = KILL_STEP_MS * 1000000L};
    struct leftovers left = {.cgroups = cgroups};

    for (int waited = 0; waited < KILL_LIMIT_MS; waited += KILL_STEP_MS) {
        left.n = 0;
        cgroups_list(cgroups, kill_one, &left);
        if (left.n == 0)
            return 0;
        nanosleep(&step, NULL);
    }
    return err_set(err, -EBUSY,
                   "%u guests of an earlier boot do not die: no new boot nonce before that",
                   left.n);
}

static int take_nonce(const char *run_dir, struct cgroups *cgroups, struct domains *domains,
                      struct boot *boot, struct err *err)
{
    char path[BOOT_PATH_SIZE];
    struct nonce_file file, now = {0};
    int rc;

    snprintf(path, sizeof(path), "%s/boot_nonce", run_dir);
    read_boot_id(now.boot_id);
    if (file_read(path, &file, sizeof(file), NULL) == sizeof(file) &&
        memcmp(file.boot_id, now.boot_id, BOOT_ID_SIZE) == 0) {
        memcpy(boot->nonce, file.nonce, NONCE_SIZE);
        return 0;
    }
    rc = end_earlier_guests(cgroups, err);
    if (rc == 0)
        rc = destroy_earlier_domains(domains, err);
    if (rc < 0)
        return rc;
    if (getrandom(now.nonce, NONCE_SIZE, 0) != NONCE_SIZE)
        return err_set(err, -EIO, "no random bytes: %s", strerror(errno));
    memcpy(boot->nonce, now.nonce, NONCE_SIZE);
    boot->is_new = true;
    return file_write(path, &now, sizeof(now), err);
}

/* Counts up before the number is used, so that no number is used twice. */
static int take_run(const char *run_dir, struct boot *boot, struct err *err)
{
    char path[BOOT_PATH_SIZE], text[16] = "";
    ssize_t n;

    snprintf(path, sizeof(path), "%s/guard_run", run_dir);
    n = boot->is_new ? 0 : file_read(path, text, sizeof(text) - 1, err);
    if (n < 0 && n != -ENOENT)
        return (int)n;
    boot->run = (uint32_t)strtoul(text, NULL, 10) + 1;
    n = snprintf(text, sizeof(text), "%u\n", boot->run);
    return file_write(path, text, (size_t)n, err);
}

int boot_begin(const char *run_dir, struct cgroups *cgroups, struct domains *domains,
               struct boot *ret, struct err *err)
{
    int rc;

    memset(ret, 0, sizeof(*ret));
    rc = take_nonce(run_dir, cgroups, domains, ret, err);
    return rc < 0 ? rc : take_run(run_dir, ret, err);
}
