#include "agent/skeind/join_czmq.h"

#include <czmq.h>
#include <errno.h>
#include <string.h>

#include "base/addr.h"

/* Says PEER_JOIN (agent/skeind/peers_czmq.h) and waits. */
static int ask(zsock_t *socket, const struct join_call *call, char **ret_answer, struct err *err)
{
    char address[IPV4_TEXT_SIZE], *answer;
    zmsg_t *message = zmsg_new();

    if (zsock_connect(socket, "tcp://%s:%u", ipv4_format(call->address, address), call->port) < 0) {
        zmsg_destroy(&message);
        return err_set(err, -EIO, "cannot call %s:%u: %s", address, call->port,
                       zmq_strerror(errno));
    }
    if (message == NULL || zmsg_addstrf(message, "J%s", call->request) < 0 ||
        zmsg_send(&message, socket) < 0) {
        zmsg_destroy(&message);
        return err_set(err, -EIO, "cannot send to %s:%u: %s", address, call->port,
                       zmq_strerror(errno));
    }
    answer = zstr_recv(socket);
    if (answer == NULL)
        return err_set(err, -ETIMEDOUT,
                       "no answer from %s:%u within %d s; is that node up and reachable from here, "
                       "and is the token of this cluster?",
                       address, call->port, call->timeout_ms / 1000);
    *ret_answer = strdup(answer);
    zstr_free(&answer);
    return *ret_answer != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int join_ask(const struct join_call *call, char **ret_answer, struct err *err)
{
    zsock_t *socket = zsock_new(ZMQ_DEALER);
    int rc;

    if (socket == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    zsock_set_linger(socket, 0);
    zsock_set_rcvtimeo(socket, call->timeout_ms);
    zsock_set_sndtimeo(socket, call->timeout_ms);
    zsock_set_connect_timeout(socket, 1000);
    zsock_set_reconnect_ivl(socket, 100);
    zsock_set_curve_publickey_bin(socket, call->curve_public);
    zsock_set_curve_secretkey_bin(socket, call->curve_secret);
    zsock_set_curve_serverkey_bin(socket, call->server_key);
    rc = ask(socket, call, ret_answer, err);
    zsock_destroy(&socket);
    return rc;
}
