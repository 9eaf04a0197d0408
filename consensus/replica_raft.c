#include "consensus/replica_raft.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

/* ---- elections */

/* Its place among the voters that may follow the last leader. */
static unsigned rank(const struct replica *r)
{
    const struct raft_configuration *c = &r->raft.configuration;
    unsigned n = 0;

    for (unsigned i = 0; i < c->n; i++)
        n += c->servers[i].role == RAFT_VOTER && c->servers[i].id < r->config.id &&
             c->servers[i].id != r->last_leader;
    return n;
}

static unsigned patience_limit_ms(const struct replica *r, int state)
{
    const struct replica_fsm *fsm = &r->config.fsm;
    unsigned limit_ms =
        r->config.election_ms *
        (state == RAFT_LEADER ? PATIENCE_LEADER_TIMES : PATIENCE_FOLLOWER_TIMES);
    uint32_t allowed_ms = limit_ms;

    if (state != RAFT_LEADER && fsm->election_limit_ms != NULL)
        allowed_ms = fsm->election_limit_ms(fsm->data, r->last_leader);
    return allowed_ms < limit_ms ? allowed_ms : limit_ms;
}

/* T is what the links ask for. Candidates that split the votes try again after times that libraft
 * draws from the same range, T to 2 T, and split them again when the times differ by less than a
 * message's way: every second round behind a full queue. So each candidate after the first waits
 * 2 T longer than the one before: until that one is done.
 */
static void set_patience(struct replica *r)
{
    int state = raft_state(&r->raft);
    unsigned patience_ms =
        patience_timeout_ms(&r->patience, patience_limit_ms(r, state), uv_now(&r->loop));

    if (state == RAFT_CANDIDATE)
        patience_ms *= 1 + 2 * rank(r);
    if (patience_ms == r->patience_ms)
        return;
    r->patience_ms = patience_ms;
    raft_set_election_timeout(&r->raft, patience_ms);
}

/* Once before and once after each wait of the loop. */
static void look(struct replica *r)
{
    if (r->is_closing)
        return;
    set_patience(r);
    replica_report(r);
    if (!r->has_mark && r->raft.last_stored > 0)
        replica_disk_mark(r);
}

static void on_before_poll(uv_prepare_t *handle)
{
    look(handle->data);
}

static void on_after_poll(uv_check_t *handle)
{
    look(handle->data);
}

static void on_chores(uv_timer_t *timer)
{
    replica_disk_mark(timer->data);
    replica_transport_greet(timer->data);
}

/* ---- the end */

static void refuse_requests(struct replica *r)
{
    pthread_mutex_lock(&r->wake_lock);
    r->takes_wakeups = false;
    pthread_mutex_unlock(&r->wake_lock);
}

static void close_handles(struct replica *r)
{
    refuse_requests(r);
    uv_close((uv_handle_t *)&r->wakeup, NULL);
    uv_close((uv_handle_t *)&r->before_poll, NULL);
    uv_close((uv_handle_t *)&r->after_poll, NULL);
    uv_close((uv_handle_t *)&r->chores, NULL);
}

static void on_raft_closed(struct raft *raft)
{
    close_handles(raft->data);
}

static void close_raft(struct replica *r)
{
    if (r->is_closing)
        return;
    r->is_closing = true;
    raft_close(&r->raft, on_raft_closed);
}

/* ---- requests */

static void on_wakeup(uv_async_t *async)
{
    struct replica *r = async->data;

    replica_request_serve(r);
    if (atomic_load(&r->is_stopping))
        close_raft(r);
}

/* -ESHUTDOWN when nobody listens any more. */
static int wake(struct replica *r)
{
    int rc = -ESHUTDOWN;

    pthread_mutex_lock(&r->wake_lock);
    if (r->takes_wakeups)
        rc = uv_async_send(&r->wakeup);
    pthread_mutex_unlock(&r->wake_lock);
    return rc;
}

static int submit(struct replica *r, const struct request *fields, const void *bytes, size_t size)
{
    struct request *request = malloc(sizeof(*request) + size);
    int rc;

    if (request == NULL)
        return -ENOMEM;
    *request = *fields;
    request->size = size;
    if (size > 0)
        memcpy(request->bytes, bytes, size);
    rc = request_queue_push(&r->requests, request);
    if (rc < 0) {
        free(request);
        return rc;
    }
    return wake(r);
}

int replica_propose(struct replica *r, const uint8_t request[NONCE_SIZE], const void *bytes,
                    size_t size)
{
    struct request fields = {.type = REQUEST_PROPOSE};

    if (size > COMMAND_MAX_SIZE)
        return -EMSGSIZE;
    memcpy(fields.request, request, NONCE_SIZE);
    return submit(r, &fields, bytes, size);
}

int replica_add(struct replica *r, uint64_t cookie, uint64_t id, uint32_t address, uint16_t port)
{
    const struct request fields = {
        .type = REQUEST_ADD, .cookie = cookie, .id = id, .address = address, .port = port};

    return submit(r, &fields, NULL, 0);
}

int replica_assign(struct replica *r, uint64_t cookie, uint64_t id, enum raft_role role)
{
    const struct request fields = {
        .type = REQUEST_ASSIGN, .cookie = cookie, .id = id, .role = role};

    return submit(r, &fields, NULL, 0);
}

int replica_remove(struct replica *r, uint64_t cookie, uint64_t id)
{
    const struct request fields = {.type = REQUEST_REMOVE, .cookie = cookie, .id = id};

    return submit(r, &fields, NULL, 0);
}

int replica_transfer(struct replica *r, uint64_t cookie, uint64_t id)
{
    const struct request fields = {.type = REQUEST_TRANSFER, .cookie = cookie, .id = id};

    return submit(r, &fields, NULL, 0);
}

bool replica_next_event(struct replica *r, struct replica_event *ret)
{
    const struct request resync = {.type = REQUEST_RESYNC};
    bool needs_resync;
    bool found = event_queue_pop(&r->events, ret, &needs_resync);

    if (needs_resync)
        submit(r, &resync, NULL, 0);
    return found;
}

uint64_t replica_published_term(const struct replica *r)
{
    return atomic_load(&r->published_term);
}

uint16_t replica_port(const struct replica *r)
{
    return atomic_load(&r->port);
}

/* ---- the start, in the thread */

/* Whoever had the directory before may still have a write in flight: wait for its end. */
static int wait_for_lock(struct replica *r, struct err *err)
{
    const struct timespec pause = {.tv_nsec = REPLICA_LOCK_POLL_MS * 1000000};
    struct replica_event waiting = {.type = REPLICA_WAITING};
    bool told = false;

    while (!atomic_load(&r->is_stopping)) {
        r->lock = replica_lock(r->directory, err);
        if (r->lock != -EBUSY)
            return r->lock < 0 ? r->lock : 0;
        if (!told)
            replica_tell(r, &waiting);
        told = true;
        nanosleep(&pause, NULL);
    }
    return err_set(err, -ECANCELED, "stopped");
}

static int raft_error(struct replica *r, int rc, const char *what, struct err *err)
{
    if (r->load_error.code != 0) {
        *err = r->load_error;
        return err->code;
    }
    return err_set(err, rc == RAFT_CORRUPT ? -EBADMSG : -EIO, "%s: %s", what,
                   raft_errmsg(&r->raft)[0] != '\0' ? raft_errmsg(&r->raft) : raft_strerror(rc));
}

static void configure(struct replica *r)
{
    const struct replica_config *c = &r->config;

    patience_init(&r->patience, c->election_ms);
    r->patience_ms = c->election_ms;
    raft_set_election_timeout(&r->raft, c->election_ms);
    raft_set_heartbeat_timeout(&r->raft, c->heartbeat_ms);
    raft_set_install_snapshot_timeout(&r->raft, REPLICA_INSTALL_MS);
    raft_set_snapshot_threshold(&r->raft, c->snapshot_threshold);
    raft_set_snapshot_trailing(&r->raft, c->snapshot_trailing);
    raft_set_pre_vote(&r->raft, true);
    /* A full disk is met by the fail stop, not by refusing entries on a guess. */
    raft_set_capacity_threshold(&r->raft, 0);
}

static int bootstrap(struct replica *r, const char *address, struct err *err)
{
    struct raft_configuration configuration;
    struct watch watch = {0};
    int rc;

    raft_configuration_init(&configuration);
    watchdog_begin(r->watchdog, &watch, "beginning a log");
    rc = raft_configuration_add(&configuration, r->config.id, address, RAFT_VOTER);
    if (rc == 0)
        rc = raft_bootstrap(&r->raft, &configuration);
    watchdog_end(r->watchdog, &watch);
    raft_configuration_close(&configuration);
    return rc == 0 ? 0 : raft_error(r, rc, "cannot begin a log", err);
}

/* libraft, from the disk up. `ret_has_raft`: raft_close is due. */
static int open_raft(struct replica *r, bool *ret_has_raft, struct err *err)
{
    char address[REPLICA_ADDRESS_SIZE], path[FILE_PATH_SIZE];
    int rc = file_path(r->directory, REPLICA_LOG_DIRECTORY, path, err);

    if (rc < 0)
        return rc;
    rc = raft_uv_init(&r->io, &r->loop, path, &r->transport);
    if (rc != 0)
        return err_set(err, -EIO, "cannot open the log: %s", r->io.errmsg);
    replica_disk_init(r);
    replica_transport_wrap(r);
    replica_fsm_init(r);
    replica_address_format(r->config.address, atomic_load(&r->port), address);
    rc = raft_init(&r->raft, &r->io, &r->fsm, r->config.id, address);
    if (rc != 0) {
        raft_uv_close(&r->io);
        return raft_error(r, rc, "cannot open the log", err);
    }
    *ret_has_raft = true;
    r->raft.data = r;
    configure(r);
    if (r->config.bootstrap && (rc = bootstrap(r, address, err)) < 0)
        return rc;
    rc = replica_disk_adopt(r, err);
    if (rc < 0)
        return rc;
    r->has_mark = r->record.mark_index > 0;
    rc = raft_start(&r->raft);
    return rc == 0 ? 0 : raft_error(r, rc, "cannot start", err);
}

static int open_all(struct replica *r, bool *ret_has_raft, struct err *err)
{
    int rc = wait_for_lock(r, err);

    if (rc == 0)
        rc = replica_disk_check(r, err);
    if (rc == 0)
        rc = replica_transport_open(r, err);
    if (rc == 0)
        rc = open_raft(r, ret_has_raft, err);
    return rc;
}

static bool take_real_time(void)
{
    const struct sched_param lowest = {.sched_priority = 1};

    /* Workers that this thread makes do not inherit it. */
    return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest) == 0;
}

static void *replica_main(void *data)
{
    struct replica *r = data;
    struct replica_event failed = {.type = REPLICA_FAILED};
    bool has_raft = false;

    pthread_setname_np(pthread_self(), "raft");
    r->is_real_time = take_real_time();
    if (open_all(r, &has_raft, &failed.failed) < 0) {
        refuse_requests(r);
        replica_tell(r, &failed);
        if (has_raft) {
            close_raft(r);
        } else {
            r->is_closing = true;
            if (r->link != NULL)
                link_close(r->link, NULL, NULL);
            close_handles(r);
        }
    } else if (atomic_load(&r->is_stopping)) {
        close_raft(r);
    }
    uv_run(&r->loop, UV_RUN_DEFAULT);
    if (has_raft)
        raft_uv_close(&r->io);
    uv_loop_close(&r->loop);
    if (r->lock >= 0)
        close(r->lock);
    return NULL;
}

/* ---- the start and the end, for the owner */

static void ignore_signal(int signal_number)
{
    struct sigaction action;

    if (sigaction(signal_number, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        sigaction(signal_number, &action, NULL);
    }
}

static void on_stalled(const char *what, uint64_t age_ms)
{
    replica_fail_stop("%s has taken %llu ms", what, (unsigned long long)age_ms);
}

static void set_default(uint32_t *value, uint32_t preset)
{
    if (*value == 0)
        *value = preset;
}

static int check_config(struct replica *r, const struct replica_config *config, struct err *err)
{
    struct replica_config *c = &r->config;

    *c = *config;
    set_default(&c->election_ms, DEFAULT_ELECTION_MS);
    set_default(&c->heartbeat_ms, DEFAULT_HEARTBEAT_MS);
    set_default(&c->disk_stall_ms, REPLICA_DEFAULT_DISK_STALL_MS);
    set_default(&c->snapshot_threshold, 1024);
    set_default(&c->snapshot_trailing, 1024);
    set_default(&c->connect_ms, LINK_DEFAULT_CONNECT_MS);
    if (c->id == 0 || c->wake == NULL || c->fsm.apply == NULL || c->fsm.snapshot == NULL ||
        c->fsm.restore == NULL || c->heartbeat_ms >= c->election_ms)
        return err_set(err, -EINVAL,
                       "a replica needs an id, its callbacks, and heartbeats shorter "
                       "than the election timeout");
    if (strlen(c->directory) >= sizeof(r->directory))
        return err_set(err, -EINVAL, "directory name too long");
    strcpy(r->directory, c->directory);
    c->directory = r->directory;
    return 0;
}

static void loop_open(struct replica *r)
{
    uv_loop_init(&r->loop);
    uv_async_init(&r->loop, &r->wakeup, on_wakeup);
    r->wakeup.data = r;
    r->takes_wakeups = true;
    uv_prepare_init(&r->loop, &r->before_poll);
    r->before_poll.data = r;
    uv_prepare_start(&r->before_poll, on_before_poll);
    uv_check_init(&r->loop, &r->after_poll);
    r->after_poll.data = r;
    uv_check_start(&r->after_poll, on_after_poll);
    uv_timer_init(&r->loop, &r->chores);
    r->chores.data = r;
    uv_timer_start(&r->chores, on_chores, REPLICA_CHORES_MS, REPLICA_CHORES_MS);
}

static void loop_abandon(struct replica *r)
{
    close_handles(r);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    uv_loop_close(&r->loop);
}

static void release(struct replica *r)
{
    watchdog_free(r->watchdog);
    event_queue_deinit(&r->events);
    request_queue_deinit(&r->requests);
    pthread_mutex_destroy(&r->wake_lock);
    pthread_mutex_destroy(&r->record_lock);
    free(r);
}

int replica_start(const struct replica_config *config, struct replica **ret, struct err *err)
{
    struct replica *r = calloc(1, sizeof(*r));
    int rc;

    if (r == NULL)
        return err_set(err, -ENOMEM, "no memory");
    r->lock = -1;
    event_queue_init(&r->events);
    request_queue_init(&r->requests);
    pthread_mutex_init(&r->wake_lock, NULL);
    pthread_mutex_init(&r->record_lock, NULL);
    rc = check_config(r, config, err);
    if (rc < 0)
        goto fail;
    r->watchdog = watchdog_new(r->config.disk_stall_ms, on_stalled);
    if (r->watchdog == NULL) {
        rc = err_set(err, -ENOMEM, "cannot start the watchdog");
        goto fail;
    }
    ignore_signal(SIGPIPE);
    ignore_signal(SIGXFSZ);
    loop_open(r);
    rc = -pthread_create(&r->thread, NULL, replica_main, r);
    if (rc < 0) {
        loop_abandon(r);
        err_set(err, rc, "cannot start a thread: %s", strerror(-rc));
        goto fail;
    }
    *ret = r;
    return 0;

fail:
    release(r);
    return rc;
}

void replica_stop(struct replica *r)
{
    if (r == NULL)
        return;
    atomic_store(&r->is_stopping, true);
    wake(r);
    pthread_join(r->thread, NULL);
    release(r);
}
