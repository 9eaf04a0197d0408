#include "agent/streams/stream_uv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/streams/departures_uv.h"
#include "agent/streams/mailbox_uv.h"
#include "agent/streams/outlets_uv.h"
#include "agent/streams/stream_job_uv.h"
#include "base/clean.h"
#include "base/tcp_posix.h"
#include "consensus/keyring.h"
#include "consensus/link_uv.h"

/* Orders under way are bounded, each tells at most once, and one report of flows is on its way at
 * most, so the mailbox of the main thread never overflows. */
enum { ORDERS_MAX = 256, MAILBOX_CAPACITY = 3 * ORDERS_MAX };

struct streams {
    struct streams_config config;
    uv_loop_t loop; /* the stream thread's, like everything down to `inbox` */
    struct link *link;
    struct stream_jobs jobs;
    bool is_ended;
    struct mailbox *inbox;
    struct outlets outlets;
    struct departures departures;
    atomic_bool is_reporting; /* a report is on its way to the main thread … */
    uint32_t n_flows;         /* … that has these */
    struct pace_flow flows[FLOWS_MAX];
    struct mailbox *outbox; /* to the main thread */
    uv_thread_t thread;
    int n_orders; /* main thread's, like the following */
    bool is_closing;
};

/* What the main thread says of a migration's stream that it opened, or is told. */
struct departure {
    struct streams *streams;
    uint64_t migration;
    int status;
    struct stream_terms terms;
};

struct pace_order {
    struct streams *streams;
    uint64_t node;
    uint32_t rate_kbps;
};

/* What the main thread wants, and then what became of it. Travels to the stream thread and back. */
struct order {
    struct streams *streams;
    uv_work_t work; /* a fetch: reads again what is here already */
    struct image_upload *upload;
    uint64_t node;
    struct stream_header header;
    struct stream_terms terms; /* of one that is opened */
    stream_opened_cb opened;
    stream_fetched_cb fetched;
    void *context;
    int status;
    int fd;
};

static int make_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 ? flags : fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

/* ---- on the main thread */

static void order_told(void *argument)
{
    struct order *order = argument;

    order->streams->n_orders--;
    if (order->fetched != NULL)
        order->fetched(order->context, order->status);
    else
        order->opened(order->context, order->status, order->fd);
    free(order);
}

static void stream_arrived(void *argument)
{
    struct order *order = argument;
    const struct streams_config *config = &order->streams->config;

    if (order->header.kind == STREAM_MIGRATION)
        config->on_migration(config->context, order->node, order->header.migration, order->fd);
    else if (config->on_checkpoint != NULL)
        config->on_checkpoint(config->context, order->node, order->header.created,
                              order->header.epoch, order->fd);
    else
        close(order->fd);
    free(order);
}

static void departure_told(void *argument)
{
    struct departure *departure = argument;
    const struct streams_config *config = &departure->streams->config;

    if (!departure->streams->is_closing)
        config->on_migration_end(config->context, departure->migration, departure->status);
    free(departure);
}

static void flows_told(void *argument)
{
    struct streams *streams = argument;
    const struct streams_config *config = &streams->config;

    if (!streams->is_closing)
        config->on_flows(config->context, streams->flows, streams->n_flows);
    atomic_store(&streams->is_reporting, false);
}

/* ---- on the stream thread */

static bool report(void *context, const struct pace_flow *flows, uint32_t n)
{
    struct streams *streams = context;

    if (atomic_load(&streams->is_reporting))
        return false;
    memcpy(streams->flows, flows, n * sizeof(*flows));
    streams->n_flows = n;
    atomic_store(&streams->is_reporting, true);
    if (mailbox_post(streams->outbox, flows_told, streams) == 0)
        return true;
    atomic_store(&streams->is_reporting, false);
    return false;
}

static void take_pace(void *argument)
{
    struct pace_order *order = argument;

    outlets_set_pace(&order->streams->outlets, order->node, order->rate_kbps);
    free(order);
}

static void on_serve(void *context, const struct link_peer *peer)
{
    struct streams *streams = context;

    outlets_add(&streams->outlets, peer, PACE_PATIENT, 0);
}

static void take_terms(void *argument)
{
    struct departure *wanted = argument;

    departures_set_patience(&wanted->streams->departures, wanted->migration,
                            wanted->terms.patience_ms);
    outlets_set_manner(&wanted->streams->outlets, wanted->migration, wanted->terms.manner);
    free(wanted);
}

static void take_undone(void *argument)
{
    struct departure *wanted = argument;

    departures_end(&wanted->streams->departures, wanted->migration);
    free(wanted);
}

/* What does not get through is no loss: the move's own limits end it. */
static void post_departure(struct mailbox *box, const struct departure *what, mailbox_run run)
{
    struct departure *departure = malloc(sizeof(*departure));

    if (departure == NULL)
        return;
    *departure = *what;
    if (mailbox_post(box, run, departure) < 0)
        free(departure);
}

static void on_link_end(void *data, const struct link_peer *peer, int status)
{
    struct streams *streams = data;
    const struct departure ended = {
        .streams = streams,
        .migration = departures_take(&streams->departures, peer->serial),
        .status = status,
    };

    outlets_remove(&streams->outlets, peer);
    if (ended.migration != 0 && streams->config.on_migration_end != NULL)
        post_departure(streams->outbox, &ended, departure_told);
}

static void order_done(void *context, int status)
{
    struct order *order = context;

    order->status = status;
    image_upload_pause(steal(&order->upload));
    mailbox_post(order->streams->outbox, order_told, order);
}

static void begin_order(struct order *order, const struct link_peer *peer, int fd)
{
    uint8_t bytes[STREAM_HEADER_SIZE];
    int r;

    if (order->fetched != NULL) {
        r = stream_job_fetch(&order->streams->jobs, fd, order->header.digest, steal(&order->upload),
                             order_done, order);
        if (r < 0)
            order_done(order, r);
        return;
    }
    stream_header_encode(&order->header, bytes);
    if (write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes) || make_blocking(fd) < 0) {
        close(fd);
        order_done(order, -EPIPE);
        return;
    }
    outlets_add(&order->streams->outlets, peer, order->terms.manner, order->header.migration);
    order->fd = fd;
    if (order->header.kind == STREAM_MIGRATION)
        departures_add(&order->streams->departures, peer->serial, order->header.migration,
                       order->terms.patience_ms);
    order_done(order, 0);
}

static void on_connected(void *data, int status, const struct link_peer *peer, int fd)
{
    if (status < 0)
        order_done(data, status);
    else
        begin_order(data, peer, fd);
}

static void call(struct order *order)
{
    struct streams *streams = order->streams;
    struct keyring_entry entry;
    int r = -ENOKEY;

    if (keyring_find(streams->config.keyring, order->node, &entry))
        r = link_connect(streams->link, order->node, entry.address, streams->config.peer_port,
                         on_connected, order);
    if (r < 0)
        order_done(order, r);
}

static void read_part(uv_work_t *work)
{
    struct order *order = work->data;

    order->status = image_store_resume(order->streams->config.store, order->header.digest,
                                       &order->upload, NULL);
}

static void part_is_read(uv_work_t *work, int status)
{
    struct order *order = work->data;

    (void)status;
    if (order->streams->is_ended)
        order_done(order, -ECANCELED);
    else if (order->status < 0)
        order_done(order, order->status);
    else
        call(order);
}

static void take_order(void *argument)
{
    struct order *order = argument;

    order->work.data = order;
    if (order->fetched == NULL)
        call(order);
    else if (uv_queue_work(&order->streams->loop, &order->work, read_part, part_is_read) != 0)
        order_done(order, -ENOMEM);
}

static void on_accepted(void *context, int status, uint64_t from,
                        const struct stream_header *header, int fd)
{
    struct streams *streams = context;
    struct order *order;

    if (status < 0 || header->kind == STREAM_IMAGE)
        return;
    order = calloc(1, sizeof(*order));
    if (order == NULL || make_blocking(fd) < 0) {
        close(fd);
        free(order);
        return;
    }
    *order = (struct order){.streams = streams, .node = from, .header = *header, .fd = fd};
    if (mailbox_post(streams->outbox, stream_arrived, order) < 0) {
        close(fd);
        free(order);
    }
}

static void on_link(void *data, const struct link_peer *peer, int fd)
{
    struct streams *streams = data;

    stream_job_accept(&streams->jobs, fd, peer, on_accepted, streams);
}

static void take_end(void *argument)
{
    struct streams *streams = argument;

    streams->is_ended = true;
    stream_jobs_cancel(&streams->jobs);
    link_close(streams->link, NULL, NULL);
    outlets_close(&streams->outlets);
    mailbox_close(streams->inbox);
}

static void run(void *argument)
{
    struct streams *streams = argument;

    uv_run(&streams->loop, UV_RUN_DEFAULT);
}

/* ---- life, on the main thread */

static int open_link(struct streams *streams, struct err *err)
{
    struct link_config link = {
        .loop = &streams->loop,
        .identity = streams->config.identity,
        .keyring = streams->config.keyring,
        .purpose = "stream",
        .node_id = streams->config.node,
        .address = streams->config.address,
        .port = streams->config.port,
        .tos = TOS_BULK,
        .connect_ms = streams->config.connect_ms,
        .dead_ms = streams->config.dead_ms,
        .on_accept = on_link,
        .on_end = on_link_end,
        .data = streams,
    };
    int r;

    memcpy(link.cluster, streams->config.cluster, NONCE_SIZE);
    r = link_open(&link, &streams->link, err);
    streams->outlets.link = streams->departures.link = streams->link;
    return r < 0 ? r : link_listen(streams->link, err);
}

/* Ends what streams_new began; the thread does not run. */
static void unwind(struct streams *streams)
{
    if (streams->link != NULL)
        link_close(streams->link, NULL, NULL);
    outlets_close(&streams->outlets);
    if (streams->inbox != NULL)
        mailbox_close(streams->inbox);
    uv_run(&streams->loop, UV_RUN_DEFAULT);
    uv_loop_close(&streams->loop);
    if (streams->outbox != NULL)
        mailbox_close(streams->outbox);
    free(streams);
}

int streams_new(const struct streams_config *config, struct streams **ret, struct err *err)
{
    struct streams *streams = calloc(1, sizeof(*streams));
    int r;

    if (streams == NULL || uv_loop_init(&streams->loop) != 0) {
        free(streams);
        return err_set(err, -ENOMEM, "no memory for the streams between nodes");
    }
    streams->config = *config;
    outlets_init(&streams->outlets, &streams->loop);
    streams->outlets.report = config->on_flows != NULL ? report : NULL;
    streams->outlets.context = streams;
    streams->jobs = (struct stream_jobs){
        .loop = &streams->loop, .store = config->store, .on_serve = on_serve, .context = streams};
    r = open_link(streams, err);
    if (r == 0 && (mailbox_new(&streams->loop, MAILBOX_CAPACITY, &streams->inbox) < 0 ||
                   mailbox_new(config->main_loop, MAILBOX_CAPACITY, &streams->outbox) < 0 ||
                   uv_thread_create(&streams->thread, run, streams) != 0))
        r = err_set(err, -ENOMEM, "no memory for the streams between nodes");
    if (r < 0) {
        unwind(streams);
        return r;
    }
    *ret = streams;
    return 0;
}

uint16_t streams_port(const struct streams *streams)
{
    return link_port(streams->link);
}

static int send_order(struct streams *streams, const struct order *wanted)
{
    struct order *order = streams->n_orders < ORDERS_MAX ? malloc(sizeof(*order)) : NULL;

    if (order == NULL)
        return -ENOBUFS;
    *order = *wanted;
    order->streams = streams;
    order->fd = -1;
    if (mailbox_post(streams->inbox, take_order, order) < 0) {
        free(order);
        return -ENOBUFS;
    }
    streams->n_orders++;
    return 0;
}

int streams_open_migration(struct streams *streams, uint64_t node, uint64_t migration,
                           const struct stream_terms *terms, stream_opened_cb cb, void *context)
{
    struct order order = {.node = node, .terms = *terms, .opened = cb, .context = context};

    order.header.kind = STREAM_MIGRATION;
    order.header.migration = migration;
    return send_order(streams, &order);
}

int streams_open_checkpoint(struct streams *streams, uint64_t node, uint64_t created,
                            uint64_t epoch, stream_opened_cb cb, void *context)
{
    struct order order = {
        .node = node, .terms.manner = PACE_PATIENT, .opened = cb, .context = context};

    order.header.kind = STREAM_CHECKPOINT;
    order.header.created = created;
    order.header.epoch = epoch;
    return send_order(streams, &order);
}

int streams_fetch_image(struct streams *streams, uint64_t node, const uint8_t digest[DIGEST_SIZE],
                        stream_fetched_cb cb, void *context)
{
    struct order order = {.node = node, .fetched = cb, .context = context};

    order.header.kind = STREAM_IMAGE;
    memcpy(order.header.digest, digest, DIGEST_SIZE);
    return send_order(streams, &order);
}

void streams_set_terms(struct streams *streams, uint64_t migration,
                       const struct stream_terms *terms)
{
    const struct departure wanted = {.streams = streams, .migration = migration, .terms = *terms};

    if (!streams->is_closing)
        post_departure(streams->inbox, &wanted, take_terms);
}

void streams_end_migration(struct streams *streams, uint64_t migration)
{
    const struct departure wanted = {.streams = streams, .migration = migration};

    if (!streams->is_closing)
        post_departure(streams->inbox, &wanted, take_undone);
}

void streams_set_pace(struct streams *streams, uint64_t node, uint32_t rate_kbps)
{
    struct pace_order *order = streams->is_closing ? NULL : malloc(sizeof(*order));

    if (order == NULL)
        return; /* the next one comes in a moment */
    *order = (struct pace_order){streams, node, rate_kbps};
    if (mailbox_post(streams->inbox, take_pace, order) < 0)
        free(order);
}

void streams_close(struct streams *streams)
{
    if (streams == NULL)
        return;
    streams->is_closing = true;
    while (mailbox_post(streams->inbox, take_end, streams) < 0)
        uv_run(streams->config.main_loop, UV_RUN_NOWAIT);
    uv_thread_join(&streams->thread);
    uv_loop_close(&streams->loop);
    mailbox_close(streams->outbox);
    free(streams);
}
