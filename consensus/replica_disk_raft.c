/* libraft's disk, watched.
 *
 * Three laws are kept here. A term is published before anything of that term leaves (set_term comes
 * before the messages of the same step). A write that fails or stalls ends the process: every
 * function of libraft's raft_io that writes is wrapped, and what libraft 0.22 would only mention in
 * a trace message (it retries a failed append through a timer that crashes, and keeps the failure
 * of a truncation or of closing a segment to itself) is caught there; its retry delay is set so
 * long that it never comes to it. And a log that is shorter than the mark is not started.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "consensus/replica_raft.h"

void replica_fail_stop(const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_error("%s; the log may be torn: this process ends (fail stop)", text);
    _exit(REPLICA_EXIT_CODE);
}

static struct replica *replica_of(struct raft_io *io)
{
    return (struct replica *)((char *)io - offsetof(struct replica, io));
}

static void check(struct replica *r, int rc, const char *what)
{
    if (rc != 0)
        replica_fail_stop("%s in %s/" REPLICA_LOG_DIRECTORY " failed: %s", what, r->directory,
                          r->io.errmsg[0] != '\0' ? r->io.errmsg : raft_strerror(rc));
}

/* ---- what libraft only traces */

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void on_trace(struct raft_tracer *tracer, int type, const void *data)
{
    static const char *const fatal[] = {"retry failed write",  "retry snapshot write",
                                        "truncate segment ",   "unlink segment ",
                                        "sync data directory", "prepare segment "};
    const struct raft_tracer_info *info = data;
    struct replica *r = tracer->impl;
    char message[160];

    if (type != RAFT_TRACER_DIAGNOSTIC)
        return;
    /* libraft formats it in static memory, where another thread may be at work on the same text:
     * strncmp reads some bytes twice, and a change between the two made it say "equal". */
    snprintf(message, sizeof(message), "%s", info->diagnostic.message);
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        if (begins(message, fatal[i]))
            replica_fail_stop("writing the log in %s failed (%s)", r->directory, message);
    if (begins(message, "create open segment"))
        watchdog_begin(r->watchdog, &r->prepare_watch, "making a log segment");
    else if (begins(message, "completed creation of") || begins(message, "canceled creation of"))
        watchdog_end(r->watchdog, &r->prepare_watch);
}

/* ---- term and vote */

static int disk_set_term(struct raft_io *io, raft_term term)
{
    struct replica *r = replica_of(io);
    struct watch watch = {0};

    atomic_store(&r->published_term, term);
    watchdog_begin(r->watchdog, &watch, "writing the term");
    check(r, r->disk.set_term(io, term), "writing the term");
    watchdog_end(r->watchdog, &watch);
    return 0;
}

static int disk_set_vote(struct raft_io *io, raft_id id)
{
    struct replica *r = replica_of(io);
    struct watch watch = {0};

    watchdog_begin(r->watchdog, &watch, "writing the vote");
    check(r, r->disk.set_vote(io, id), "writing the vote");
    watchdog_end(r->watchdog, &watch);
    return 0;
}

/* ---- entries */

struct append {
    struct raft_io_append request; /* libraft's disk sees this one… */
    struct raft_io_append *outer;  /* …on behalf of libraft's engine */
    raft_io_append_cb done;
    struct replica *replica;
    struct watch watch;
};

static void on_appended(struct raft_io_append *request, int status)
{
    struct append *a = request->data;

    watchdog_end(a->replica->watchdog, &a->watch);
    if (status != RAFT_CANCELED)
        check(a->replica, status, "writing entries");
    a->done(a->outer, status);
    free(a);
}

static int disk_append(struct raft_io *io, struct raft_io_append *request,
                       const struct raft_entry entries[], unsigned n, raft_io_append_cb done)
{
    struct replica *r = replica_of(io);
    struct append *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return RAFT_NOMEM;
    a->request.data = a;
    a->outer = request;
    a->done = done;
    a->replica = r;
    watchdog_begin(r->watchdog, &a->watch, "writing entries");
    check(r, r->disk.append(io, &a->request, entries, n, on_appended), "writing entries");
    return 0;
}

/* What is about to be cut off must not be missed later: the mark goes down first. */
static void lower_mark(struct replica *r, uint64_t index)
{
    struct watch watch = {0};
    struct err err;

    pthread_mutex_lock(&r->record_lock);
    if (r->is_marking && r->marking.mark_index > index)
        r->mark_lowered++; /* the worker must not put it up again */
    if (r->record.mark_index > index) {
        r->record.mark_index = index;
        watchdog_begin(r->watchdog, &watch, "writing the mark");
        if (replica_record_write(r->directory, &r->record, &err) < 0)
            replica_fail_stop("%s", err.text);
        watchdog_end(r->watchdog, &watch);
    }
    pthread_mutex_unlock(&r->record_lock);
}

static int disk_truncate(struct raft_io *io, raft_index index)
{
    struct replica *r = replica_of(io);

    lower_mark(r, index - 1);
    check(r, r->disk.truncate(io, index), "cutting the log");
    return 0;
}

/* ---- snapshots */

struct put {
    struct raft_io_snapshot_put request;
    struct raft_io_snapshot_put *outer;
    raft_io_snapshot_put_cb done;
    struct replica *replica;
    struct watch watch;
    struct raft_snapshot snapshot;
    bool owns_members;
};

static void put_free(struct put *p)
{
    if (p->owns_members)
        raft_configuration_close(&p->snapshot.configuration);
    free(p);
}

/* libraft 0.22 takes a snapshot as soon as it has applied entries, and looks at the changes of the
 * configuration among them after that (legacyApply, shouldTakeSnapshot). Such a snapshot has the
 * configuration before the newest, and who starts from it never learns that the newest, which its
 * log still has, is committed: it answers every further change with "busy", for ever. What is
 * uncommitted in libraft's eyes, but stands before the end of its own snapshot, is committed. */
static int take_newest_members(struct put *p)
{
    const struct raft *raft = &p->replica->raft;
    struct raft_configuration *copy = &p->snapshot.configuration;
    int rc = 0;

    if (raft->configuration_uncommitted_index == 0 ||
        raft->configuration_uncommitted_index > p->snapshot.index)
        return 0;
    raft_configuration_init(copy);
    p->owns_members = true;
    p->snapshot.configuration_index = raft->configuration_uncommitted_index;
    for (unsigned i = 0; i < raft->configuration.n && rc == 0; i++) {
        const struct raft_server *server = &raft->configuration.servers[i];

        rc = raft_configuration_add(copy, server->id, server->address, server->role);
    }
    return rc;
}

static void on_put(struct raft_io_snapshot_put *request, int status)
{
    struct put *p = request->data;

    watchdog_end(p->replica->watchdog, &p->watch);
    p->replica->put = NULL;
    if (status != RAFT_CANCELED)
        check(p->replica, status, "writing a snapshot");
    p->done(p->outer, status);
    put_free(p);
}

static int disk_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *request,
                    const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done)
{
    struct replica *r = replica_of(io);
    struct put *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return RAFT_NOMEM;
    p->request.data = p;
    p->outer = request;
    p->done = done;
    p->replica = r;
    p->snapshot = *snapshot;
    if (trailing == 0) { /* a leader's snapshot takes the place of the whole log */
        lower_mark(r, snapshot->index);
    } else if (take_newest_members(p) != 0) {
        put_free(p);
        return RAFT_NOMEM;
    }
    r->put = &p->request;
    watchdog_begin(r->watchdog, &p->watch, "writing a snapshot");
    check(r, r->disk.snapshot_put(io, trailing, &p->request, &p->snapshot, on_put),
          "writing a snapshot");
    return 0;
}

/* A follower of libraft 0.22 files a change of the configuration under the index of the batch's
 * first entry (replicationAppend), and unless it is that one, never sees it committed: once it
 * leads, it answers every further change with "busy". So a batch ends before a change that is not
 * its first entry; the leader sends the rest again. What is committed comes with the rest, too: of
 * a batch that it has already, libraft takes the end as the end of what is committed, and would go
 * back behind what it has applied. */
static void cut_before_change(struct raft_append_entries *batch)
{
    for (unsigned i = 1; i < batch->n_entries; i++) {
        if (batch->entries[i].type != RAFT_CHANGE)
            continue;
        batch->n_entries = i;
        batch->leader_commit = 0;
    }
}

/* libraft 0.22 crashes when a leader's snapshot arrives while it writes one of its own. Such a
 * message is dropped: the leader sends it again. */
static void on_receive(struct raft_io *io, struct raft_message *message)
{
    struct replica *r = replica_of(io);

    if (message->type == RAFT_INSTALL_SNAPSHOT && r->put != NULL) {
        raft_configuration_close(&message->install_snapshot.conf);
        raft_free(message->install_snapshot.data.base);
        return;
    }
    if (message->type == RAFT_APPEND_ENTRIES)
        cut_before_change(&message->append_entries);
    if (message->type == RAFT_APPEND_ENTRIES || message->type == RAFT_APPEND_ENTRIES_RESULT)
        patience_hear(&r->patience, message->server_id, uv_now(&r->loop));
    r->receive(io, message);
}

static int disk_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick,
                      raft_io_recv_cb receive)
{
    struct replica *r = replica_of(io);

    struct watch watch = {0};
    int rc;

    r->receive = receive;
    watchdog_begin(r->watchdog, &watch, "making the first log segments");
    rc = r->disk.start(io, msecs, tick, on_receive);
    watchdog_end(r->watchdog, &watch);
    return rc;
}

/* ---- start: the identity law */

static void free_loaded(struct raft_snapshot *snapshot, struct raft_entry *entries, size_t n)
{
    void *batch = NULL;

    if (snapshot != NULL) {
        raft_configuration_close(&snapshot->configuration);
        for (unsigned i = 0; i < snapshot->n_bufs; i++)
            raft_free(snapshot->bufs[i].base);
        raft_free(snapshot->bufs);
        raft_free(snapshot);
    }
    for (size_t i = 0; i < n; i++) { /* entries of one batch stand together */
        if (entries[i].batch != batch)
            raft_free(entries[i].batch);
        batch = entries[i].batch;
    }
    raft_free(entries);
}

static int disk_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                     struct raft_snapshot **snapshot, raft_index *start_index,
                     struct raft_entry *entries[], size_t *n_entries)
{
    struct replica *r = replica_of(io);
    const struct replica_record *mark = &r->record;
    struct replica_event event = {.type = REPLICA_STARTED};
    uint64_t last;
    int rc = r->disk.load(io, term, voted_for, snapshot, start_index, entries, n_entries);

    if (rc != 0) {
        err_set(&r->load_error, rc == RAFT_CORRUPT ? -ESTALE : -EIO,
                "the log in %s cannot be loaded: %s", r->directory, io->errmsg);
        return rc;
    }
    last = *start_index + *n_entries - 1;
    if (last < mark->mark_index || *term < mark->mark_term) {
        err_set(&r->load_error, -ESTALE,
                "the log in %s ends at %llu (term %llu), but this node had acknowledged %llu "
                "(term %llu): it must join again under a new id",
                r->directory, (unsigned long long)last, (unsigned long long)*term,
                (unsigned long long)mark->mark_index, (unsigned long long)mark->mark_term);
        free_loaded(*snapshot, *entries, *n_entries);
        return RAFT_CORRUPT;
    }
    atomic_store(&r->published_term, *term);
    event.started.term = *term;
    event.started.last_index = last;
    event.started.real_time = r->is_real_time;
    replica_tell(r, &event);
    return 0;
}

int replica_disk_check(struct replica *r, struct err *err)
{
    int rc = replica_inspect(r->directory, &r->record, err);

    if (rc < 0 && rc != -ENOENT)
        return rc;
    r->has_record = rc == 0;
    if (r->has_record && r->config.bootstrap)
        return err_set(err, -EEXIST, "%s already holds the log of a cluster", r->directory);
    if (r->has_record && (r->record.id != r->config.id ||
                          memcmp(r->record.cluster, r->config.cluster, NONCE_SIZE) != 0))
        return err_set(err, -EEXIST, "%s holds the log of another node (id %llu) or cluster",
                       r->directory, (unsigned long long)r->record.id);
    return replica_prepare_log(r->directory, r->has_record, err);
}

int replica_disk_adopt(struct replica *r, struct err *err)
{
    struct watch watch = {0};
    int rc;

    if (r->has_record)
        return 0;
    r->record = (struct replica_record){.id = r->config.id};
    memcpy(r->record.cluster, r->config.cluster, NONCE_SIZE);
    if (r->config.bootstrap)
        r->record.mark_index = r->record.mark_term = 1;
    r->has_record = true;
    watchdog_begin(r->watchdog, &watch, "writing the record");
    rc = replica_record_write(r->directory, &r->record, err);
    watchdog_end(r->watchdog, &watch);
    return rc;
}

/* ---- the mark */

static void write_mark(uv_work_t *work)
{
    struct replica *r = work->data;
    struct watch watch = {0};
    struct err err;

    pthread_mutex_lock(&r->record_lock);
    if (r->mark_lowered == r->marking_lowered) {
        r->record = r->marking;
        watchdog_begin(r->watchdog, &watch, "writing the mark");
        if (replica_record_write(r->directory, &r->record, &err) < 0)
            replica_fail_stop("%s", err.text);
        watchdog_end(r->watchdog, &watch);
    }
    pthread_mutex_unlock(&r->record_lock);
}

static void on_mark_written(uv_work_t *work, int status)
{
    struct replica *r = work->data;

    (void)status;
    r->is_marking = false;
}

void replica_disk_mark(struct replica *r)
{
    if (r->is_marking || r->is_closing)
        return;
    pthread_mutex_lock(&r->record_lock);
    r->marking = r->record;
    r->marking_lowered = r->mark_lowered;
    pthread_mutex_unlock(&r->record_lock);
    if (r->raft.last_stored <= r->marking.mark_index &&
        r->raft.current_term <= r->marking.mark_term)
        return;
    if (r->raft.last_stored > r->marking.mark_index)
        r->marking.mark_index = r->raft.last_stored;
    r->has_mark = r->marking.mark_index > 0;
    r->marking.mark_term = r->raft.current_term;
    r->mark_work.data = r;
    r->is_marking = uv_queue_work(&r->loop, &r->mark_work, write_mark, on_mark_written) == 0;
}

void replica_disk_init(struct replica *r)
{
    r->tracer = (struct raft_tracer){.impl = r, .version = 2, .emit = on_trace};
    raft_uv_set_tracer(&r->io, &r->tracer);
    raft_uv_set_disk_retry(&r->io, REPLICA_DISK_RETRY_MS);
    raft_uv_set_connect_retry_delay(&r->io, REPLICA_CONNECT_RETRY_MS);
    raft_uv_set_auto_recovery(&r->io, false); /* it would drop what was acknowledged */
    r->disk = r->io;
    r->io.load = disk_load;
    r->io.start = disk_start;
    r->io.set_term = disk_set_term;
    r->io.set_vote = disk_set_vote;
    r->io.append = disk_append;
    r->io.truncate = disk_truncate;
    r->io.snapshot_put = disk_put;
}
