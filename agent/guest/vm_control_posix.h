/* vm_control: what the guard's executor asks of a running skein-vm, over a socket in the guest's
 * own directory: a request a connection (SOCK_SEQPACKET), and its replies (shell and codec).
 */
#ifndef SKEIN_AGENT_GUEST_VM_CONTROL_POSIX_H
#define SKEIN_AGENT_GUEST_VM_CONTROL_POSIX_H

#include <sys/types.h>

#include "agent/guest/vm.h"

enum vm_order {
    VM_ORDER_MOVE = 1, /* source: out through the stream that is passed -> MOVED, HALTED */
    VM_ORDER_ACTIVATE, /* target: the guest's move is finished -> DONE when it runs */
    VM_ORDER_RESUME,   /* source, after an abort: the guest goes on -> DONE when it runs */
    VM_ORDER_LOOK,     /* what speaks for and against moving it -> LOOKED */
    VM_ORDER_AWAIT,    /* target, of a guest that runs: all of its memory is here -> DONE */
    VM_ORDER_RECEIVE,  /* target: the guest comes through the stream that is passed -> DONE */
    VM_ORDER_END
};

struct vm_request {
    enum vm_order order;
    /* MOVE: */
    bool is_paused;         /* it stands still all the while */
    uint32_t post_after;    /* rounds of pre-copy, then its memory follows it; 0 = never */
    uint32_t last_round_ms; /* else: what is left when it stops may take so long */
    uint32_t rate_kbps;     /* no more than that for its memory, and for its disk; 0 = no limit */
    uint32_t connections;   /* for its memory; several: post_after is 0, and it is not paused */
};

enum vm_answer {
    VM_ANSWER_DONE = 1,
    VM_ANSWER_FAILED,  /* text */
    VM_ANSWER_MOVED,   /* bytes, frozen_us, handed_over_us: it stands still now */
    VM_ANSWER_LOOKED,  /* memory_bytes, disk_bytes */
    VM_ANSWER_HALTED,  /* as MOVED, but its memory is to follow: it must not be frozen */
    VM_ANSWER_FOLLOWS, /* of ACTIVATE: it runs, its memory is on its way */
    VM_ANSWER_ENDED,   /* of ACTIVATE: it was over before it was let go; text */
    VM_ANSWER_END
};

struct vm_reply {
    enum vm_answer answer;
    uint64_t bytes;                     /* that crossed the stream */
    uint64_t frozen_us, handed_over_us; /* CLOCK_BOOTTIME */
    uint64_t memory_bytes, disk_bytes;
    char text[ERR_TEXT_SIZE];
};

/* Descriptors that ride along with a request, for MOVE and RECEIVE; -1: none. */
struct vm_passed {
    int stream;
    int progress; /* a file for how far it is (progress_posix.h), also while its memory follows */
};

#define VM_NONE_PASSED ((struct vm_passed){-1, -1})

enum { VM_PACKET_MAX = 512 };

void vm_request_encode(const struct vm_request *request, struct writer *w);
int vm_request_decode(const void *data, size_t size, struct vm_request *ret); /* -EBADMSG */
void vm_reply_encode(const struct vm_reply *reply, struct writer *w);
int vm_reply_decode(const void *data, size_t size, struct vm_reply *ret); /* -EBADMSG */

/* skein-vm, or what is to become it: the socket; who connects is served by vm_control_take. */
int vm_control_listen(const struct vm_paths *vm, struct err *err);
/* The next request: ret_fd is its connection, ret_passed what rode along, the caller's. Negative
 * errno: nothing came of it. */
int vm_control_take(int listener, struct vm_request *ret, int *ret_fd,
                    struct vm_passed *ret_passed);
/* Nobody is served any more: who has asked for something and was not taken gets this answer. */
void vm_control_refuse(int *listener, const struct vm_paths *vm, enum vm_answer what,
                       const struct err *why);
/* Safe twice. */
void vm_passed_close(struct vm_passed *passed);
int vm_control_answer(int fd, const struct vm_reply *reply);

/* The executor: sends the request with what is passed, borrowed; ret_pid is skein-vm. */
int vm_control_ask(const struct vm_paths *vm, const struct vm_request *request,
                   struct vm_passed passed, int *ret_fd, pid_t *ret_pid, struct err *err);
/* Blocks for the reply. An error: FAILED (-EREMOTEIO), ENDED (-EOWNERDEAD), none (-ECHILD). */
int vm_control_await(int fd, struct vm_reply *ret, struct err *err);

#endif
