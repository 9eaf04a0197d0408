#include "agent/guest/vm_control_posix.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clean.h"

enum { VERSION = 6, BACKLOG = 4, PASSED_MAX = 2 };

/* ---- codec */

void vm_request_encode(const struct vm_request *request, struct writer *w)
{
    write_u8(w, VERSION);
    write_u8(w, (uint8_t)request->order);
    write_bool(w, request->is_paused);
    write_u32(w, request->post_after);
    write_u32(w, request->last_round_ms);
    write_u32(w, request->rate_kbps);
    write_u32(w, request->connections);
}

int vm_request_decode(const void *data, size_t size, struct vm_request *ret)
{
    struct vm_request request = {0};
    struct reader r;

    reader_init(&r, data, size);
    if (read_u8(&r) != VERSION)
        return -EBADMSG;
    request.order = read_u8(&r);
    request.is_paused = read_bool(&r);
    request.post_after = read_u32(&r);
    request.last_round_ms = read_u32(&r);
    request.rate_kbps = read_u32(&r);
    request.connections = read_u32(&r);
    if (!reader_done(&r) || request.order < VM_ORDER_MOVE || request.order >= VM_ORDER_END)
        return -EBADMSG;
    *ret = request;
    return 0;
}

void vm_reply_encode(const struct vm_reply *reply, struct writer *w)
{
    write_u8(w, VERSION);
    write_u8(w, (uint8_t)reply->answer);
    write_u64(w, reply->bytes);
    write_u64(w, reply->frozen_us);
    write_u64(w, reply->handed_over_us);
    write_u64(w, reply->memory_bytes);
    write_u64(w, reply->disk_bytes);
    write_string(w, reply->text);
}

int vm_reply_decode(const void *data, size_t size, struct vm_reply *ret)
{
    struct vm_reply reply = {0};
    struct reader r;

    reader_init(&r, data, size);
    if (read_u8(&r) != VERSION)
        return -EBADMSG;
    reply.answer = read_u8(&r);
    reply.bytes = read_u64(&r);
    reply.frozen_us = read_u64(&r);
    reply.handed_over_us = read_u64(&r);
    reply.memory_bytes = read_u64(&r);
    reply.disk_bytes = read_u64(&r);
    read_string(&r, reply.text, sizeof(reply.text));
    if (!reader_done(&r) || reply.answer < VM_ANSWER_DONE || reply.answer >= VM_ANSWER_END)
        return -EBADMSG;
    *ret = reply;
    return 0;
}

/* ---- packets */

static struct sockaddr_un address_of(const struct vm_paths *vm)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", vm->control);
    return address;
}

union descriptor {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(PASSED_MAX * sizeof(int))];
};

static int send_packet(int fd, const struct writer *w, struct vm_passed passed)
{
    struct iovec part = {.iov_base = w->data, .iov_len = w->size};
    union descriptor room = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    const int fds[PASSED_MAX] = {passed.stream, passed.progress};
    size_t size = passed.progress >= 0 ? sizeof(fds) : sizeof(fds[0]);

    if (passed.stream >= 0) {
        message.msg_control = room.bytes;
        message.msg_controllen = CMSG_SPACE(size);
        room.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(size), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&room.header), fds, size);
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static ssize_t receive_packet(int fd, uint8_t bytes[VM_PACKET_MAX], struct vm_passed *ret_passed)
{
    struct iovec part = {.iov_base = bytes, .iov_len = VM_PACKET_MAX};
    union descriptor room = {0};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = room.bytes,
                             .msg_controllen = sizeof(room.bytes)};
    int fds[PASSED_MAX] = {-1, -1};
    ssize_t n;

    do
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n >= 0 && CMSG_FIRSTHDR(&message) != NULL && room.header.cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(&room.header), room.header.cmsg_len - CMSG_LEN(0));
    *ret_passed = (struct vm_passed){.stream = fds[0], .progress = fds[1]};
    return n < 0 ? -errno : n;
}

/* ---- skein-vm */

int vm_control_listen(const struct vm_paths *vm, struct err *err)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = address_of(vm);

    unlink(vm->control);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        listen(fd, BACKLOG) == 0)
        return fd;
    err_set(err, -errno, "cannot listen at %s: %s", vm->control, strerror(errno));
    if (fd >= 0)
        close(fd);
    return err->code;
}

/* Who connects has its request ready: it is sent at once. */
int vm_control_take(int listener, struct vm_request *ret, int *ret_fd, struct vm_passed *ret_passed)
{
    cleanup_close int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct vm_passed passed;
    struct timeval limit = {.tv_sec = 1};
    uint8_t bytes[VM_PACKET_MAX];
    ssize_t n;
    int rc;

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    n = receive_packet(fd, bytes, &passed);
    rc = n < 0 ? (int)n : vm_request_decode(bytes, (size_t)n, ret);
    if (rc < 0) {
        vm_passed_close(&passed);
        return rc;
    }
    *ret_fd = steal_fd(&fd);
    *ret_passed = passed;
    return 0;
}

void vm_control_refuse(int *listener, const struct vm_paths *vm, enum vm_answer what,
                       const struct err *why)
{
    struct vm_reply reply = {.answer = what};
    struct vm_request request;
    struct vm_passed passed;
    int fd, rc;

    snprintf(reply.text, sizeof(reply.text), "%s", why->text);
    unlink(vm->control); /* so that nobody comes behind those who have come */
    while (*listener >= 0 && (rc = vm_control_take(*listener, &request, &fd, &passed)) != -EAGAIN) {
        if (rc < 0)
            break;
        (void)vm_control_answer(fd, &reply);
        vm_passed_close(&passed);
        close(fd);
    }
    if (*listener >= 0)
        close(*listener);
    *listener = -1;
}

void vm_passed_close(struct vm_passed *passed)
{
    if (passed->stream >= 0)
        close(passed->stream);
    if (passed->progress >= 0)
        close(passed->progress);
    *passed = VM_NONE_PASSED;
}

int vm_control_answer(int fd, const struct vm_reply *reply)
{
    uint8_t bytes[VM_PACKET_MAX];
    struct writer w;

    writer_init(&w, bytes, sizeof(bytes));
    vm_reply_encode(reply, &w);
    return w.failed ? -EMSGSIZE : send_packet(fd, &w, VM_NONE_PASSED);
}

/* ---- the executor */

static int connect_to(const struct vm_paths *vm, pid_t *ret_pid, struct err *err)
{
    cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = address_of(vm);
    struct ucred who;
    socklen_t size = sizeof(who);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
        return err_set(err, -errno, "cannot reach its " VM_PROGRAM ": %s", strerror(errno));
    *ret_pid = who.pid;
    return steal_fd(&fd);
}

int vm_control_ask(const struct vm_paths *vm, const struct vm_request *request,
                   struct vm_passed passed, int *ret_fd, pid_t *ret_pid, struct err *err)
{
    cleanup_close int fd = connect_to(vm, ret_pid, err);
    uint8_t bytes[VM_PACKET_MAX];
    struct writer w;
    int rc;

    if (fd < 0)
        return fd;
    writer_init(&w, bytes, sizeof(bytes));
    vm_request_encode(request, &w);
    rc = send_packet(fd, &w, passed);
    if (rc < 0)
        return err_set(err, rc, "cannot reach its " VM_PROGRAM ": %s", strerror(-rc));
    *ret_fd = steal_fd(&fd);
    return 0;
}

int vm_control_await(int fd, struct vm_reply *ret, struct err *err)
{
    uint8_t bytes[VM_PACKET_MAX];
    struct vm_passed none;
    ssize_t n = receive_packet(fd, bytes, &none);

    if (n <= 0)
        return err_set(err, -ECHILD, "its " VM_PROGRAM " died over it");
    if (vm_reply_decode(bytes, (size_t)n, ret) < 0)
        return err_set(err, -EBADMSG, "its " VM_PROGRAM " cannot be understood");
    if (ret->answer == VM_ANSWER_ENDED)
        return err_set(err, -EOWNERDEAD, "%s", ret->text);
    return ret->answer == VM_ANSWER_FAILED ? err_set(err, -EREMOTEIO, "%s", ret->text) : 0;
}
