/* work: the loop of the work thread, its connections and answers; see work_posix.h. */
#include "agent/guard/work_posix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/guard/clock_posix.h"
#include "agent/guard/packet_posix.h"
#include "agent/guard/process_posix.h"
#include "base/log.h"

/* What a descriptor in the epoll set is: kind in the upper half, a value in the lower. */
enum watch {
    WATCH_LISTEN = 1,
    WATCH_CLIENT,
    WATCH_GUEST,
    WATCH_CELLS,
    WATCH_FABRIC,
    WATCH_LEASE,
    WATCH_SIGNAL
};

static int watch_fd(struct work *work, int fd, enum watch kind, uint32_t value)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | value};

    return epoll_ctl(work->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int work_watch_guest(struct work *work, struct local_guest *guest, struct err *err)
{
    int fd = process_open((pid_t)guest->record.pid), rc;

    if (fd < 0)
        return err_set(err, fd, "process %u of guest '%s' is gone", guest->record.pid, guest->name);
    rc = watch_fd(work, fd, WATCH_GUEST, guest->record.pid);
    /* Opened, then looked at: it is the process that we mean, not a later one with its number. */
    if (rc == 0 && !cgroup_has(work->config.cgroups, guest->name,
                               guest_record_stays(&guest->record), (pid_t)guest->record.pid))
        rc = -ESRCH;
    if (rc == 0 && process_start_time((pid_t)guest->record.pid) != guest->record.start_time)
        rc = -ESRCH;
    if (rc < 0) {
        close(fd);
        return err_set(err, rc, "process %u is none of guest '%s'", guest->record.pid, guest->name);
    }
    guest->pidfd = fd;
    return 0;
}

/* ---- connections */

static struct client *find_client(struct work *work, uint32_t id)
{
    for (int i = 0; i < WORK_MAX_CLIENTS; i++) {
        if (id != 0 && work->clients[i].id == id)
            return &work->clients[i];
    }
    return NULL;
}

static void drop_client(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    *client = (struct client){.fd = -1};
}

static bool may_connect(const struct work *work, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return false;
    if (peer.uid == 0 || peer.uid == work->config.user)
        return true;
    log_warn("process %d of user %u may not speak to this guard", peer.pid, peer.uid);
    return false;
}

/* A free place, or that of the one who has said nothing for longest: skeind speaks at once. */
static struct client *find_place(struct work *work)
{
    struct client *silent = NULL;

    for (int i = 0; i < WORK_MAX_CLIENTS; i++) {
        struct client *client = &work->clients[i];

        if (client->id == 0)
            return client;
        if (!client->said_hello && (silent == NULL || client->id < silent->id))
            silent = client;
    }
    if (silent != NULL)
        drop_client(silent);
    return silent;
}

static void take_client(struct work *work)
{
    int fd = accept4(work->config.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *place;

    if (fd < 0)
        return;
    place = may_connect(work, fd) ? find_place(work) : NULL;
    if (place == NULL) {
        close(fd);
        return;
    }
    packet_make_room(fd, GUARD_PACKET_MAX);
    if (++work->last_client == 0)
        work->last_client = 1;
    *place = (struct client){.id = work->last_client, .fd = fd};
    if (watch_fd(work, fd, WATCH_CLIENT, place->id) < 0)
        drop_client(place);
}

/* A client that does not read its answers is cut off: nothing waits for it. */
static void send_reply(struct work *work, struct client *client, const struct guard_reply *reply)
{
    struct writer w;
    int rc;

    (void)work;
    writer_init_growing(&w, GUARD_PACKET_MAX);
    guard_reply_encode(reply, &w);
    rc = w.failed ? -EMSGSIZE : packet_send(client->fd, w.data, w.size, &reply->fd, 1);
    writer_deinit(&w);
    if (rc < 0) {
        log_warn("cannot answer %s: %s", guard_op_name(reply->op), strerror(-rc));
        drop_client(client);
    }
}

void work_answer(struct work *work, uint32_t client_id, struct guard_reply *reply)
{
    struct client *client = find_client(work, client_id);

    if (client != NULL)
        send_reply(work, client, reply);
    if (reply->fd >= 0)
        close(reply->fd);
    reply->fd = -1;
}

static void fill_reports(struct work *work, struct guard_reply *reply)
{
    bool is_lapsed = roster_is_lapsed(work->config.roster);

    reply->reports = calloc(work->guests.n + 1, sizeof(*reply->reports));
    for (const struct local_guest *g = work->guests.first; reply->reports != NULL && g != NULL;
         g = g->next) {
        if (g->record.state != 0)
            guest_report(g, is_lapsed, &reply->reports[reply->n_reports++]);
    }
}

static void tell_all(struct work *work, enum guard_event event)
{
    struct guard_reply reply;

    guard_reply_init(&reply);
    reply.event = event;
    if (event == GUARD_EVENT_LIST)
        fill_reports(work, &reply);
    for (int i = 0; i < WORK_MAX_CLIENTS; i++) {
        if (work->clients[i].id != 0 && work->clients[i].said_hello)
            send_reply(work, &work->clients[i], &reply);
    }
    guard_reply_deinit(&reply);
}

/* Takes as long for a wrong one as for the right one. */
static bool is_key(const struct work *work, const uint8_t key[GUARD_KEY_SIZE])
{
    uint8_t difference = 0;

    for (int i = 0; i < GUARD_KEY_SIZE; i++)
        difference |= key[i] ^ work->config.key[i];
    return difference == 0;
}

static void turn_away(struct work *work, struct client *client, struct guard_reply *reply)
{
    log_warn("a client without the key of this board is cut off");
    reply->code = -EACCES;
    strcpy(reply->text, "this is not the key of the board: only skeind may speak to the guard");
    send_reply(work, client, reply);
    drop_client(client);
}

/* The lease connection goes to its own thread with the hello answered. */
static void hello(struct work *work, struct client *client, const struct guard_request *request)
{
    struct guard_reply reply;

    guard_reply_init(&reply);
    reply.serial = request->serial;
    reply.op = GUARD_HELLO;
    if (!is_key(work, request->key)) {
        turn_away(work, client, &reply);
        return;
    }
    reply.hello = work->config.hello;
    reply.hello.lapsed = roster_is_lapsed(work->config.roster);
    send_reply(work, client, &reply);
    client->said_hello = true;
    if (client->fd < 0 || request->connection != GUARD_CONNECTION_LEASE)
        return;
    epoll_ctl(work->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL);
    lease_thread_give_connection(work->config.lease, client->fd);
    client->fd = -1;
    drop_client(client);
}

static void list(struct work *work, struct client *client, const struct guard_request *request)
{
    struct guard_reply reply;

    guard_reply_init(&reply);
    reply.serial = request->serial;
    reply.op = GUARD_LIST;
    fill_reports(work, &reply);
    send_reply(work, client, &reply);
    guard_reply_deinit(&reply);
}

static void take_request(struct work *work, struct client *client, struct guard_request *request)
{
    if (!client->said_hello && request->op != GUARD_HELLO)
        drop_client(client);
    else if (request->op == GUARD_HELLO && !client->said_hello)
        hello(work, client, request);
    else if (request->op == GUARD_LIST)
        list(work, client, request);
    else
        request_begin(work, request, client->id);
}

static void read_client(struct work *work, struct client *client)
{
    struct guard_request request;
    int fds[PACKET_MAX_FDS];
    ssize_t size = packet_receive(client->fd, work->packet, sizeof(work->packet), fds);

    if (size == -EAGAIN)
        return;
    if (size <= 0 || guard_request_decode(work->packet, (size_t)size, &request) < 0) {
        if (size != 0)
            log_warn("a client sent what is no request: it is cut off");
        drop_client(client);
        for (int i = 0; i < PACKET_MAX_FDS; i++) {
            if (fds[i] >= 0)
                close(fds[i]);
        }
        return;
    }
    memcpy(request.fds, fds, sizeof(fds));
    take_request(work, client, &request);
    for (int i = 0; i < GUARD_MAX_FDS; i++) {
        if (request.fds[i] >= 0)
            close(request.fds[i]);
    }
    guard_request_deinit(&request);
}

/* ---- guests, executors, the lease */

bool work_take_exit(struct work *work, uint32_t pid, int32_t *ret_status)
{
    for (int i = 0; i < WORK_MAX_EXITS; i++) {
        if (pid != 0 && work->exits[i].pid == pid) {
            *ret_status = work->exits[i].status;
            work->exits[i].pid = 0;
            return true;
        }
    }
    return false;
}

static void guest_ended(struct work *work, uint32_t pid)
{
    struct local_guest *guest = guests_find_pid(&work->guests, pid);

    if (guest == NULL || guest->pidfd < 0)
        return;
    epoll_ctl(work->epoll_fd, EPOLL_CTL_DEL, guest->pidfd, NULL);
    close(guest->pidfd);
    guest->pidfd = -1;
    guest->has_ended = true;
    operations_look_after(work, guest);
}

static int take_results(struct work *work, struct executor *executor, const char *name,
                        struct err *err)
{
    struct job_result result;
    int rc;

    while ((rc = executor_take(executor, &result)) == 0) {
        if (result.id == 0)
            work->exits[work->n_exits++ % WORK_MAX_EXITS] = result;
        else
            operation_result(work, executor, &result);
    }
    return rc == -EAGAIN ? 0 : err_set(err, rc, "the %s executor has died", name);
}

static void log_notes(struct work *work)
{
    struct lease_notes notes;

    lease_thread_take_notes(work->config.lease, &notes);
    if (notes.n_lapses > 0)
        log_warn("the lease has lapsed: guests frozen after %u µs, ports down after %u µs",
                 notes.freeze_us, notes.ports_us);
    if (notes.freeze_rc < 0)
        log_error("the freezer refused (%s): what it could not stop was killed",
                  strerror(-notes.freeze_rc));
    if (notes.n_lifts > 0 || notes.n_destroyed > 0)
        log_info("the lease is back: %u copies that live elsewhere were destroyed",
                 notes.n_destroyed);
}

static void lease_changed(struct work *work)
{
    bool is_lapsed = roster_is_lapsed(work->config.roster);
    uint64_t n;

    if (read(work->config.lease_event_fd, &n, sizeof(n)) < 0)
        return;
    log_notes(work);
    if (is_lapsed != work->was_lapsed)
        tell_all(work, is_lapsed ? GUARD_EVENT_LAPSED : GUARD_EVENT_LIFTED);
    work->was_lapsed = is_lapsed;
    work->has_news = true;
    for (struct local_guest *g = work->guests.first, *next; g != NULL; g = next) {
        next = g->next;
        operations_look_after(work, g);
    }
}

/* ---- the loop */

int work_init(struct work *work, const struct work_config *config, struct err *err)
{
    int rc;

    memset(work, 0, sizeof(*work));
    for (int i = 0; i < WORK_MAX_CLIENTS; i++)
        work->clients[i].fd = -1;
    work->config = *config;
    work->was_lapsed = true;
    work->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    rc = work->epoll_fd < 0 ? -errno : 0;
    if (rc == 0)
        rc = watch_fd(work, config->cells.fd, WATCH_CELLS, 0);
    if (rc == 0)
        rc = watch_fd(work, config->fabric.fd, WATCH_FABRIC, 0);
    if (rc == 0)
        rc = watch_fd(work, config->lease_event_fd, WATCH_LEASE, 0);
    if (rc == 0)
        rc = watch_fd(work, config->signal_fd, WATCH_SIGNAL, 0);
    return rc < 0 ? err_set(err, rc, "cannot watch: %s", strerror(-rc)) : 0;
}

/* 1 = an orderly end. */
static int handle(struct work *work, enum watch kind, uint32_t value, struct err *err)
{
    struct client *client;

    switch (kind) {
    case WATCH_LISTEN:
        take_client(work);
        return 0;
    case WATCH_CLIENT:
        client = find_client(work, value);
        if (client != NULL)
            read_client(work, client);
        return 0;
    case WATCH_GUEST:
        guest_ended(work, value);
        return 0;
    case WATCH_CELLS:
        return take_results(work, &work->config.cells, "cell", err);
    case WATCH_FABRIC:
        return take_results(work, &work->config.fabric, "fabric", err);
    case WATCH_LEASE:
        lease_changed(work);
        return 0;
    case WATCH_SIGNAL:
        return 1;
    }
    return 0;
}

static int wait_ms(const struct work *work)
{
    uint64_t now = clock_now_us(), next = operations_next_wake(work);

    if (next == UINT64_MAX)
        return -1;
    return next <= now ? 0 : (int)((next - now) / 1000 + 1);
}

int work_run(struct work *work, struct err *err)
{
    struct epoll_event event;
    int rc = watch_fd(work, work->config.listen_fd, WATCH_LISTEN, 0);

    if (rc < 0)
        return err_set(err, rc, "cannot watch the socket: %s", strerror(-rc));
    fabric_begin(work);
    for (struct local_guest *g = work->guests.first, *next; g != NULL; g = next) {
        next = g->next;
        operations_look_after(work, g);
    }
    for (;;) {
        int n = epoll_wait(work->epoll_fd, &event, 1, wait_ms(work));

        if (n < 0 && errno != EINTR)
            return err_set(err, -errno, "cannot wait: %s", strerror(errno));
        if (n == 1)
            rc = handle(work, (enum watch)(event.data.u64 >> 32), (uint32_t)event.data.u64, err);
        if (n == 1 && rc != 0)
            return rc < 0 ? rc : 0;
        operations_wake(work, clock_now_us());
        if (work->has_news) {
            work->has_news = false;
            tell_all(work, GUARD_EVENT_LIST);
        }
    }
}
