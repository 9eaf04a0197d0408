/* openflow_ovs: see the header. */
#include "netfabric/openflow_ovs.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clean.h"
#include "netfabric/flows_wire.h"
#include "netfabric/socket_posix.h"

static const char *const socket_path = "/run/openvswitch/br-int.mgmt";

enum { LIMIT_S = 5, BATCH_SIZE = 64 * 1024 * 1024, BUNDLE = 1 };

/* Outcome of openflow_wait(): an error of the switch, for the caller to judge. */
struct refusal {
    unsigned type, code; /* 0, 0: none */
};

void openflow_init(struct openflow *o)
{
    *o = (struct openflow){.fd = -1};
}

void openflow_deinit(struct openflow *o)
{
    if (o->fd >= 0)
        close(o->fd);
    rules_deinit(&o->rules);
    free(o->meters);
    openflow_init(o);
}

static int send_all(struct openflow *o, struct writer *w)
{
    int code = w->failed ? -ENOMEM : socket_write(o->fd, w->data, w->size);

    writer_deinit(w);
    return code;
}

static void begin(struct writer *w)
{
    writer_init_growing(w, BATCH_SIZE);
}

static int send_plain(struct openflow *o, enum openflow_type type, uint32_t xid)
{
    struct writer w;

    begin(&w);
    openflow_plain_write(&w, type, xid);
    return send_all(o, &w);
}

/* An echo request is answered with its own bytes. */
static int answer_echo(struct openflow *o, uint8_t *message, size_t size)
{
    message[1] = OPENFLOW_ECHO_REPLY;
    return socket_write(o->fd, message, size);
}

/* Reads until a message of `type` comes; of the errors before it the first is kept. */
static int wait_for(struct openflow *o, enum openflow_type type, struct refusal *ret)
{
    cleanup_free uint8_t *message = malloc(OPENFLOW_MAX_MESSAGE);
    struct openflow_header header;
    int code = message == NULL ? -ENOMEM : 0;

    *ret = (struct refusal){0};
    while (code == 0) {
        code = socket_read(o->fd, message, OPENFLOW_HEADER_SIZE);
        if (code < 0)
            break;
        openflow_header_read(message, &header);
        if (header.size < OPENFLOW_HEADER_SIZE)
            return -EPROTO;
        code = socket_read(o->fd, message + OPENFLOW_HEADER_SIZE,
                           header.size - (size_t)OPENFLOW_HEADER_SIZE);
        if (code == 0 && header.type == type)
            return 0;
        if (code == 0 && header.type == OPENFLOW_ECHO_REQUEST)
            code = answer_echo(o, message, header.size);
        if (code == 0 && header.type == OPENFLOW_ERROR && ret->type == 0 && header.size >= 12)
            *ret = (struct refusal){.type = (unsigned)(message[8] << 8 | message[9]),
                                    .code = (unsigned)(message[10] << 8 | message[11])};
        /* A bundle that is refused is answered by nothing but the error. */
        if (code == 0 && header.type == OPENFLOW_ERROR && type == OPENFLOW_BUNDLE_CONTROL)
            return 0;
    }
    return code;
}

/* ---- the connection */

static bool has_hung_up(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLRDHUP};

    return poll(&pollfd, 1, 0) != 0 && (pollfd.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

int openflow_connect(struct openflow *o, bool *ret_is_new, struct err *err)
{
    struct refusal refusal;
    int code;

    *ret_is_new = false;
    if (o->fd >= 0 && !has_hung_up(o->fd))
        return 0;
    openflow_deinit(o);
    o->fd = socket_connect(socket_path, LIMIT_S);
    code = o->fd < 0 ? o->fd : send_plain(o, OPENFLOW_HELLO, ++o->xid);
    if (code == 0)
        code = wait_for(o, OPENFLOW_HELLO, &refusal);
    if (code < 0) {
        openflow_deinit(o);
        return err_set(err, code, "cannot speak OpenFlow with br-int: %s", strerror(-code));
    }
    *ret_is_new = true;
    return 0;
}

int openflow_probe(struct openflow *o, struct err *err)
{
    struct refusal refusal;
    int code = send_plain(o, OPENFLOW_BARRIER_REQUEST, ++o->xid);

    if (code == 0)
        code = wait_for(o, OPENFLOW_BARRIER_REPLY, &refusal);
    if (code == 0)
        return 0;
    openflow_deinit(o); /* the answer may come yet: it would be taken for the next one's */
    return err_set(err, code, "br-int does not answer: %s", strerror(-code));
}

/* ---- meters: not part of a bundle */

static const struct meter *meter_of(const struct openflow *o, uint32_t vni)
{
    for (uint32_t i = 0; i < o->n_meters; i++)
        if (o->meters[i].vni == vni)
            return &o->meters[i];
    return NULL;
}

static int send_meter(struct openflow *o, const struct meter *meter, bool is_new,
                      struct refusal *ret)
{
    struct writer w;
    int code;

    begin(&w);
    openflow_meter_write(&w, meter, is_new, ++o->xid);
    openflow_plain_write(&w, OPENFLOW_BARRIER_REQUEST, ++o->xid);
    code = send_all(o, &w);
    return code < 0 ? code : wait_for(o, OPENFLOW_BARRIER_REPLY, ret);
}

/* One that an earlier connection made may be there. */
static int set_meter(struct openflow *o, const struct meter *meter, struct err *err)
{
    const struct meter *present = meter_of(o, meter->vni);
    struct refusal refusal = {0};
    int code = 0;

    if (present != NULL && present->rate_kbps == meter->rate_kbps)
        return 0;
    code = send_meter(o, meter, present == NULL, &refusal);
    if (code == 0 && refusal.type == OPENFLOW_ERROR_METER_MOD &&
        refusal.code == OPENFLOW_ERROR_METER_EXISTS)
        code = send_meter(o, meter, false, &refusal);
    if (code < 0)
        return err_set(err, code, "cannot set the rate of slice %u: %s", meter->vni,
                       strerror(-code));
    if (refusal.type != 0)
        return err_set(err, -EIO, "the switch refuses the rate of slice %u (error %u/%u)",
                       meter->vni, refusal.type, refusal.code);
    return 0;
}

static int set_meters(struct openflow *o, const struct meter *meters, uint32_t n, struct err *err)
{
    struct meter *copy = malloc((n + 1) * sizeof(*copy));
    int code = copy == NULL ? err_set(err, -ENOMEM, "no memory for the meters") : 0;

    for (uint32_t i = 0; code == 0 && i < n; i++)
        code = set_meter(o, &meters[i], err);
    if (code < 0) {
        free(copy);
        return code;
    }
    if (n > 0)
        memcpy(copy, meters, n * sizeof(*copy));
    free(o->meters);
    o->meters = copy;
    o->n_meters = n;
    return 0;
}

/* ---- rules */

static int bundle_control(struct openflow *o, struct writer *w, struct err *err)
{
    struct refusal refusal;
    int code = send_all(o, w);

    if (code == 0)
        code = wait_for(o, OPENFLOW_BUNDLE_CONTROL, &refusal);
    if (code < 0)
        return err_set(err, code, "cannot change the rules of br-int: %s", strerror(-code));
    if (refusal.type != 0)
        return err_set(err, -EIO, "br-int refuses its rules (error %u/%u)", refusal.type,
                       refusal.code);
    return 0;
}

static int send_bundle(struct openflow *o, const struct rule_change *changes, size_t n,
                       struct err *err)
{
    struct writer w;
    int code;

    begin(&w);
    openflow_bundle_write(&w, OPENFLOW_BUNDLE_OPEN, BUNDLE, ++o->xid);
    code = bundle_control(o, &w, err);
    if (code < 0)
        return code;
    begin(&w);
    if (o->rules.list == NULL)
        openflow_clear_write(&w, BUNDLE, ++o->xid);
    for (size_t i = 0; i < n; i++)
        openflow_change_write(&w, &changes[i], BUNDLE, ++o->xid);
    openflow_bundle_write(&w, OPENFLOW_BUNDLE_COMMIT, BUNDLE, ++o->xid);
    return bundle_control(o, &w, err);
}

static int set_rules(struct openflow *o, struct rules *rules, struct err *err)
{
    cleanup_free struct rule_change *changes = NULL;
    size_t n;
    int code = rules_difference(&o->rules, rules, &changes, &n);

    if (code < 0)
        return err_set(err, code, "no memory for the rules");
    if (n > 0 || o->rules.list == NULL)
        code = send_bundle(o, changes, n, err);
    if (code < 0)
        return code;
    rules_deinit(&o->rules);
    o->rules = *rules;
    *rules = (struct rules){0};
    return 0;
}

int openflow_apply(struct openflow *o, const struct meter *meters, uint32_t n_meters,
                   struct rules *rules, struct err *err)
{
    int code = set_meters(o, meters, n_meters, err);

    if (code == 0)
        code = set_rules(o, rules, err);
    if (code < 0)
        openflow_deinit(o); /* what the switch holds is not known any more */
    rules_deinit(rules);
    return code;
}
