/* skein-guard: the privileged process of a node.
 *
 * This file is the order of its start: fork the executors, while there is neither a filter nor a
 * thread; freeze what runs; find out which boot this is; take up the guests; start the lease
 * thread; open the socket; shut the filter behind itself; serve. Nothing is thawed on the way: a
 * guard starts lapsed.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/guard/aside_posix.h"
#include "agent/guard/boot_posix.h"
#include "agent/guard/files_posix.h"
#include "agent/guard/filter_seccomp.h"
#include "agent/guard/job_run_posix.h"
#include "agent/guard/key_posix.h"
#include "agent/guard/records_posix.h"
#include "agent/guard/watchdog_linux.h"
#include "agent/guard/work_posix.h"
#include "agent/guest/vm_driver_posix.h"
#include "base/log.h"

enum { EXIT_USAGE = 2, LEASE_PRIORITY = 50, PATH_SIZE = 160, BACKLOG = 8 };

struct guard {
    struct config config;
    struct job_context context; /* of the executors */
    struct domains *domains;    /* NULL = none */
    struct boot boot;
    struct roster roster;
    struct work work;
    uid_t uid;
    gid_t gid; /* of skeind */
};

static void find_user(struct guard *g)
{
    const struct passwd *user = getpwnam(g->config.user);

    if (user != NULL) {
        g->uid = user->pw_uid;
        g->gid = user->pw_gid;
    } else {
        log_warn("there is no user '%s': only root may speak to this guard", g->config.user);
    }
}

/* Sticky where skeind writes too: what is root's there stays root's. */
static int make_directories(const struct guard *g, struct err *err)
{
    const struct {
        const char *base, *below;
        mode_t mode;
    } dirs[] = {
        {g->config.run_dir, "", 01775},        {g->config.run_dir, "/guard", 0700},
        {g->config.run_dir, "/guests", 0711},  {g->config.run_dir, "/netns", 0755},
        {g->config.data_dir, "", 01775},       {g->config.data_dir, "/roots", 0755},
        {g->config.data_dir, "/guests", 0711}, {g->config.log_dir, "", 01775},
        {g->config.log_dir, "/guests", 0750},  {g->config.data_dir, "/volumes", 0700},
    };
    char path[PATH_SIZE];
    int rc = 0;

    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]) && rc == 0; i++) {
        snprintf(path, sizeof(path), "%s%s", dirs[i].base, dirs[i].below);
        rc = directory_make(path, dirs[i].mode, g->uid, g->gid, err);
    }
    return rc;
}

static void fill_wiring(const struct config *config, struct wiring_config *ret)
{
    *ret = (struct wiring_config){
        .vtep = config->vtep != 0 ? config->vtep : config->address,
        .vtep_prefix = config->vtep_prefix,
        .backhaul_kbps = config->backhaul_kbps,
    };
    snprintf(ret->uplink, sizeof(ret->uplink), "%s", config->uplink);
    snprintf(ret->vtep_port, sizeof(ret->vtep_port), "%s", config->vtep_port);
    snprintf(ret->datapath, sizeof(ret->datapath), "%s", config->datapath);
}

/* What the kernel lets us use is what there is. */
static void fill_cpus(const struct config *config, struct cpus *ret)
{
    uint32_t n_declared;
    cpu_set_t set;

    memset(ret, 0, sizeof(*ret));
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof(set), &set);
    for (int cpu = 0; cpu < MAX_CORES && cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &set))
            ret->real[ret->n_real++] = (uint16_t)cpu;
    }
    ret->is_folded = config->isolation_simulated;
    n_declared = config->n_cores != 0 ? config->n_cores : ret->n_real;
    for (uint32_t i = 0; i < n_declared; i++) {
        bool is_beyond = vm_driver_is_xen() && !ret->is_folded && i >= ret->n_real;

        if (config->has_isolated_cores ? config->isolated[i] : i != 0)
            continue;
        if (is_beyond)
            ret->beyond[ret->n_beyond++] = (uint16_t)i;
        else
            ret->shared[ret->n_shared++] = config->n_cores != 0 ? (uint16_t)i : ret->real[i];
    }
    ret->has_none_to_share = ret->n_shared == 0;
    if (ret->n_shared == 0) /* everything is isolated: shared guests sit beside the system */
        ret->shared[ret->n_shared++] = ret->real[0];
}

static int start_executors(struct guard *g, struct work_config *ret, struct err *err)
{
    const struct executor_config cells = {
        .name = "cell", .forks = true, .run = job_run_cell, .context = &g->context};
    const struct executor_config fabric = {
        .name = "fabric", .run = job_run_fabric, .context = &g->context};
    int rc = executor_start(&cells, &ret->cells, err);

    return rc < 0 ? rc : executor_start(&fabric, &ret->fabric, err);
}

/* One guard a node. Taken after the executors are forked, who would hold it for longer than us. */
static int take_lock(const struct guard *g, struct err *err)
{
    char path[PATH_SIZE];
    int fd;

    snprintf(path, sizeof(path), "%s/guard.lock", g->config.run_dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, -EBUSY, "another skein-guard runs on this node");
    return 0; /* held for the life of the process */
}

static int take_key(const struct guard *g, struct work_config *ret, struct err *err)
{
    int fd = guard_key_open(g->config.run_dir, ret->key, err);

    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

static int open_signals(int *ret_fd, struct err *err)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    *ret_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return *ret_fd < 0 ? err_set(err, -errno, "no signalfd: %s", strerror(errno)) : 0;
}

/* The socket gets its name when it listens: who waits for the name is never refused. */
static int open_socket(const struct guard *g, int *ret_fd, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    char path[sizeof(address.sun_path)];
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/guard.sock.new",
                     g->config.run_dir);

    if (fd < 0 || (size_t)n >= sizeof(address.sun_path))
        return err_set(err, -EINVAL, "cannot make a socket in %s", g->config.run_dir);
    snprintf(path, sizeof(path), "%s/guard.sock", g->config.run_dir);
    unlink(address.sun_path);
    umask(0177);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        chown(address.sun_path, 0, g->gid) < 0 || chmod(address.sun_path, 0660) < 0 ||
        listen(fd, BACKLOG) < 0 || rename(address.sun_path, path) < 0)
        return err_set(err, -errno, "cannot listen at %s: %s", path, strerror(errno));
    umask(022);
    *ret_fd = fd;
    return 0;
}

static int open_watchdog(const struct guard *g, int *ret_fd, struct err *err)
{
    *ret_fd = -1;
    return g->config.watchdog[0] == '\0' ? 0 : watchdog_open(g->config.watchdog, ret_fd, err);
}

static int start_lease(struct guard *g, struct work_config *work, struct err *err)
{
    struct lease_thread_config lease = {.roster = &g->roster,
                                        .deadline = &g->context.deadline,
                                        .cgroups = work->cgroups,
                                        .domains = work->domains,
                                        .priority = LEASE_PRIORITY,
                                        .notify_fd = work->lease_event_fd};
    bool has_priority = false;
    bool is_locked = mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
    int rc = open_watchdog(g, &lease.watchdog_fd, err);

    if (rc == 0)
        rc = lease_thread_start(&lease, &work->lease, &has_priority, err);
    if (rc == 0)
        log_info("lease thread: %s, memory %s, watchdog %s",
                 has_priority ? "SCHED_FIFO" : "NO real-time priority (not allowed)",
                 is_locked ? "locked" : "NOT locked (not allowed)",
                 lease.watchdog_fd >= 0 ? g->config.watchdog : "none");
    return rc;
}

/* The last to be killed for want of memory. */
static void ask_to_be_spared(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, "-1000", 5) < 0)
        log_debug("oom_score_adj: not allowed");
    if (fd >= 0)
        close(fd);
}

static int open_cgroups(struct guard *g, struct err *err)
{
    char words[128];
    int rc = cgroups_open(&g->context.cgroups, err);

    if (rc < 0)
        return rc;
    cgroups_describe(g->context.cgroups, words, sizeof(words));
    log_info("cgroups %s", words);
    return 0;
}

/* What packets of guests stop at when this guard cannot act any more. */
static void open_deadline(struct guard *g)
{
    struct err err = {0};

    if (deadline_open(&g->context.deadline, DEADLINE_DIRECTORY, &err) < 0)
        log_warn("no deadline filter: %s", err.text);
    else
        log_info("deadline filter in %s", DEADLINE_DIRECTORY);
}

/* Of a Xen that cannot be spoken to no guest is started here: skein-vm asks in the same way. */
static void open_domains(struct guard *g)
{
    struct err err = {0};

    if (domains_open(&g->domains, &err) < 0)
        log_warn("no guests by Xen: %s", err.text);
    else if (g->domains != NULL)
        log_info("guests by Xen: their domains are paused by hypercall");
}

/* Before anything of this guard can go wrong: whatever runs, stops. */
static int freeze(const struct guard *g, struct err *err)
{
    int rc = cgroups_set_frozen(g->context.cgroups, true);

    if (rc == 0)
        rc = domains_pause(g->domains);
    return rc < 0 ? err_set(err, rc, "cannot freeze: %s", strerror(-rc)) : 0;
}

static int begin_boot(struct guard *g, struct work_config *work, struct err *err)
{
    int rc = boot_begin(g->config.run_dir, g->context.cgroups, g->domains, &g->boot, err);

    if (rc < 0)
        return rc;
    if (g->boot.is_new) {
        records_clear(g->config.run_dir);
        aside_put_earlier_guests();
    }
    memcpy(work->hello.boot_nonce, g->boot.nonce, NONCE_SIZE);
    work->hello.run = g->boot.run;
    log_info("run %u of %s boot", g->boot.run, g->boot.is_new ? "a new" : "this");
    return roster_init(&g->roster, g->boot.nonce, g->boot.run, config_timers(&g->config).freeze_ms,
                       err);
}

static int begin(struct guard *g, struct err *err)
{
    struct work_config work = {
        .run_dir = g->config.run_dir, .log_dir = g->config.log_dir, .roster = &g->roster};
    int rc;

    find_user(g);
    fill_cpus(&g->config, &work.cpus);
    g->context.cpus = work.cpus;
    fill_wiring(&g->config, &g->context.wiring_config);
    rc = wiring_new(&g->context.wiring_config, &g->context.wiring, err);
    if (rc == 0)
        rc = make_directories(g, err);
    if (rc == 0)
        rc = open_cgroups(g, err);
    open_deadline(g);
    if (rc == 0)
        rc = start_executors(g, &work, err);
    if (rc == 0)
        rc = take_lock(g, err);
    if (rc == 0)
        rc = take_key(g, &work, err);
    if (rc == 0)
        open_domains(g);
    if (rc == 0)
        rc = freeze(g, err);
    if (rc == 0)
        rc = begin_boot(g, &work, err);
    if (rc == 0)
        rc = open_signals(&work.signal_fd, err);
    work.user = g->uid;
    work.cgroups = g->context.cgroups;
    work.domains = g->domains;
    work.lease_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (rc == 0)
        rc = work_init(&g->work, &work, err);
    if (rc == 0)
        rc = adopt_guests(&g->work, err);
    if (rc == 0)
        rc = start_lease(g, &g->work.config, err);
    if (rc == 0)
        rc = open_socket(g, &g->work.config.listen_fd, err);
    ask_to_be_spared();
    return rc < 0 ? rc : filter_guard(err);
}

int main(int argc, char *argv[])
{
    struct guard *g = calloc(1, sizeof(*g));
    struct err err = {0};
    int rc;

    log_setup("skein-guard", LOG_LEVEL_INFO);
    if (g == NULL || config_load(&g->config, argc, argv, &err) < 0) {
        log_error("%s", err.text);
        return EXIT_USAGE;
    }
    log_setup("skein-guard", (enum log_level)g->config.log_level);
    if (geteuid() != 0) {
        log_error("skein-guard must run as root");
        return EXIT_FAILURE;
    }
    umask(022);
    rc = begin(g, &err);
    if (rc == 0)
        rc = work_run(&g->work, &err);
    if (rc < 0)
        log_error("%s", err.text);
    else
        log_info("ends: the guests stay frozen until the next start");
    if (g->work.config.lease != NULL)
        lease_thread_stop(g->work.config.lease);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
