#include "agent/guard/domains_xen.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/guard/hypercall_xen.h"
#include "agent/guest/vm_driver_posix.h"
#include "base/clean.h"

#define PRIVCMD "/dev/xen/privcmd"
#define BUFFERS "/dev/xen/hypercall"

/* Numbers of hypercalls; a list has room for as many as fit a page. */
enum { CALL_SYSCTL = 35, CALL_DOMCTL = 36, PAGE = 4096, AT_ONCE = PAGE / DOMAIN_INFO_SIZE };

/* Where the hypervisor reads and writes: memory that the kernel never moves or takes away. */
struct buffers {
    uint8_t list[PAGE];
    uint8_t question[PAGE / 2];
    uint8_t end[PAGE / 2]; /* of DESTROY, which takes its time */
};

struct domains {
    int privcmd;
    struct buffers *buffers;
    pthread_mutex_t lock;     /* list and question; with priority inheritance */
    pthread_mutex_t end_lock; /* end */
};

/* ---- hypercalls */

static long call(struct domains *d, uint64_t number, const void *question)
{
    struct hypercall_request request = {.number = number,
                                        .arguments = {(uint64_t)(uintptr_t)question}};
    long rc = ioctl(d->privcmd, HYPERCALL_REQUEST, &request);

    return rc < 0 ? -errno : rc;
}

static int order(struct domains *d, enum domctl_order what, uint16_t domain, uint8_t *question)
{
    domctl_encode(what, domain, question);
    return (int)call(d, CALL_DOMCTL, question);
}

/* A page of the list: how many, from the id `first` on. */
static int list_from(struct domains *d, uint16_t first)
{
    uint8_t *question = d->buffers->question;
    uint32_t n;
    long rc;

    sysctl_encode_list(first, AT_ONCE, (uint64_t)(uintptr_t)d->buffers->list, question);
    rc = call(d, CALL_SYSCTL, question);
    if (rc < 0)
        return (int)rc;
    n = sysctl_decode_list(question);
    return n <= AT_ONCE ? (int)n : -EPROTO;
}

/* Of the guests' domains that are not being taken apart; the first error of `each` is returned. */
static int for_each(struct domains *d,
                    int (*each)(struct domains *d, const struct domain_info *info,
                                const struct domain_name *name, void *context),
                    void *context)
{
    struct domain_info info = {0};
    struct domain_name name;
    uint32_t first = 0;
    int n, rc = 0;

    do {
        n = list_from(d, (uint16_t)first);
        if (n < 0)
            return n;
        for (int i = 0; i < n; i++) {
            int done = 0;

            domain_info_decode(d->buffers->list + (size_t)i * DOMAIN_INFO_SIZE, &info);
            if (!info.is_dying && domain_handle_read(info.handle, &name))
                done = each(d, &info, &name, context);
            rc = rc == 0 ? done : rc;
        }
        first = info.id + 1u;
    } while (n == AT_ONCE && first <= UINT16_MAX);
    return rc;
}

static int for_each_locked(struct domains *d,
                           int (*each)(struct domains *d, const struct domain_info *info,
                                       const struct domain_name *name, void *context),
                           void *context)
{
    int rc;

    if (d == NULL)
        return 0;
    pthread_mutex_lock(&d->lock);
    rc = for_each(d, each, context);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

/* ---- all of them */

static int pause_one(struct domains *d, const struct domain_info *info)
{
    int rc = info->is_paused ? 0 : order(d, DOMCTL_PAUSE, info->id, d->buffers->question);

    if (rc == 0 || rc == -ESRCH)
        return 0;
    return order(d, DOMCTL_DESTROY, info->id, d->buffers->question);
}

static int pause_leased(struct domains *d, const struct domain_info *info,
                        const struct domain_name *name, void *context)
{
    (void)context;
    return name->stays ? 0 : pause_one(d, info);
}

int domains_pause(struct domains *d)
{
    return for_each_locked(d, pause_leased, NULL);
}

struct wish {
    bool (*may_run)(void *context, const struct domain_name *name);
    void *context;
};

static int unpause_willing(struct domains *d, const struct domain_info *info,
                           const struct domain_name *name, void *context)
{
    const struct wish *wish = context;
    int rc;

    if (!info->is_paused || !wish->may_run(wish->context, name))
        return 0;
    rc = order(d, DOMCTL_UNPAUSE, info->id, d->buffers->question);
    return rc == -ESRCH ? 0 : rc;
}

int domains_unpause(struct domains *d,
                    bool (*may_run)(void *context, const struct domain_name *name), void *context)
{
    struct wish wish = {may_run, context};

    return for_each_locked(d, unpause_willing, &wish);
}

struct listing {
    void (*each)(void *context, const struct domain_name *name);
    void *context;
};

static int list_one(struct domains *d, const struct domain_info *info,
                    const struct domain_name *name, void *context)
{
    const struct listing *listing = context;

    (void)d, (void)info;
    listing->each(listing->context, name);
    return 0;
}

int domains_list(struct domains *d, void (*each)(void *context, const struct domain_name *name),
                 void *context)
{
    struct listing listing = {each, context};

    return for_each_locked(d, list_one, &listing);
}

/* ---- one */

struct search {
    uint64_t created;
    struct domain_info found[4]; /* one; more only while one of them is no guest yet */
    int n;
};

static int take_found(struct domains *d, const struct domain_info *info,
                      const struct domain_name *name, void *context)
{
    struct search *search = context;

    (void)d;
    if (!domain_is_of(name, search->created))
        return 0;
    if (search->n == (int)(sizeof(search->found) / sizeof(search->found[0])))
        return -EOVERFLOW;
    search->found[search->n++] = *info;
    return 0;
}

static void search_for(struct search *search, const struct domain_name *name)
{
    *search = (struct search){.created = name->created};
}

int domain_pause(struct domains *d, const struct domain_name *name)
{
    struct search search;
    int rc;

    if (d == NULL)
        return 0;
    search_for(&search, name);
    pthread_mutex_lock(&d->lock);
    rc = for_each(d, take_found, &search);
    for (int i = 0; i < search.n; i++) {
        int paused = pause_one(d, &search.found[i]);

        rc = rc == 0 ? paused : rc;
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

int domain_use(struct domains *d, const struct domain_name *name, struct domain_use *ret)
{
    struct search search;
    int rc;

    search_for(&search, name);
    rc = for_each_locked(d, take_found, &search);
    *ret = (struct domain_use){0};
    for (int i = 0; i < search.n; i++) {
        ret->cpu_us += search.found[i].cpu_ns / 1000;
        ret->memory_bytes += search.found[i].pages * DOMAIN_PAGE_SIZE;
    }
    return rc;
}

int domain_destroy(struct domains *d, const struct domain_name *name)
{
    struct search search;
    int rc;

    if (d == NULL)
        return 0;
    search_for(&search, name);
    pthread_mutex_lock(&d->lock);
    rc = for_each(d, take_found, &search);
    for (int i = 0; i < search.n; i++)
        pause_one(d, &search.found[i]);
    pthread_mutex_unlock(&d->lock);
    pthread_mutex_lock(&d->end_lock); /* nobody who is in a hurry waits for this */
    for (int i = 0; i < search.n; i++) {
        int destroyed = order(d, DOMCTL_DESTROY, search.found[i].id, d->buffers->end);

        if (destroyed < 0 && destroyed != -ESRCH && rc == 0)
            rc = destroyed;
    }
    pthread_mutex_unlock(&d->end_lock);
    return rc;
}

/* ---- whether there are any */

static int map_buffers(struct domains *d, struct err *err)
{
    cleanup_close int fd = open(BUFFERS, O_RDWR | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED
                      : mmap(NULL, sizeof(*d->buffers), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (at == MAP_FAILED)
        return err_set(err, -errno, "no memory for hypercalls (" BUFFERS "): %s", strerror(errno));
    d->buffers = at;
    return 0;
}

static int make_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;
    int rc = pthread_mutexattr_init(&attributes);

    if (rc != 0)
        return -rc;
    rc = pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    if (rc == 0)
        rc = pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return -rc;
}

static int open_all(struct domains *d, struct err *err)
{
    int rc = make_lock(&d->lock);

    if (rc == 0)
        rc = make_lock(&d->end_lock);
    if (rc < 0)
        return err_set(err, rc, "cannot make a lock: %s", strerror(-rc));
    d->privcmd = open(PRIVCMD, O_RDWR | O_CLOEXEC);
    if (d->privcmd < 0)
        return err_set(err, -errno, "cannot open " PRIVCMD ": %s", strerror(errno));
    rc = map_buffers(d, err);
    if (rc < 0)
        return rc;
    rc = list_from(d, 0);
    if (rc == -EACCES)
        return err_set(err, -ENOTSUP, "this Xen's control interface is not one of 4.19 or 4.20");
    return rc < 0 ? err_set(err, rc, "Xen does not list its domains: %s", strerror(-rc)) : 0;
}

int domains_open(struct domains **ret, struct err *err)
{
    struct domains *d;
    int rc;

    *ret = NULL;
    if (!vm_driver_is_xen())
        return 0;
    d = calloc(1, sizeof(*d));
    if (d == NULL)
        return err_set(err, -ENOMEM, "no memory");
    d->privcmd = -1;
    rc = open_all(d, err);
    if (rc < 0) {
        domains_close(d);
        return rc;
    }
    *ret = d;
    return 0;
}

void domains_close(struct domains *d)
{
    if (d == NULL)
        return;
    if (d->buffers != NULL)
        munmap(d->buffers, sizeof(*d->buffers));
    if (d->privcmd >= 0)
        close(d->privcmd);
    free(d);
}
