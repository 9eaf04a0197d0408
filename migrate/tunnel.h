/* tunnel: several connections of a virtual machine's move within one stream between two nodes
 * (pure: frames, their codec, and who may send what when).
 *
 * libvirt and QEMU connect to doors (Unix sockets) on the source; each connection becomes a
 * channel, and on the target somebody connects to the door of the same name. A frame is
 *
 *     type u8 | door u8 | channel u16 | size u32 | that many bytes      (little-endian)
 *
 * The target begins with HELLO. A move ends in one of two ways: all of the guest crosses while it
 * stands still (ASKED, COMPLETE), or it stands still (HALTED), becomes the target's (GO), and its
 * memory follows it. A channel carries TUNNEL_WINDOW bytes each way until the other side
 * gives CREDIT for what it has passed on, so that no channel waits for another one's reader. A move
 * needs few channels: none is used twice.
 */
#ifndef SKEIN_MIGRATE_TUNNEL_H
#define SKEIN_MIGRATE_TUNNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum {
    TUNNEL_VERSION = 2,
    TUNNEL_HEADER_SIZE = 8,
    TUNNEL_DATA_MAX = 64 * 1024, /* bytes of a frame */
    TUNNEL_TEXT_MAX = 4096,      /* of HELLO and FAILED */
    TUNNEL_WINDOW = 512 * 1024,
    TUNNEL_MAX_CHANNELS = 32,
};

enum tunnel_door {
    TUNNEL_RPC = 0, /* libvirt's own */
    TUNNEL_MEMORY,  /* QEMU's state; more than one with multifd */
    TUNNEL_DISKS,   /* NBD */
    TUNNEL_N_DOORS,
};

enum tunnel_type {
    TUNNEL_HELLO = 1, /* target: it is ready; TUNNEL_VERSION (u8) and a text for the source */
    TUNNEL_OPEN,      /* source: somebody is at the door */
    TUNNEL_DATA,
    TUNNEL_CREDIT,   /* so many bytes were passed on (u32) */
    TUNNEL_END,      /* no more bytes from here */
    TUNNEL_ASKED,    /* target: libvirt was asked to finish the move; the order is held */
    TUNNEL_COMPLETE, /* source: the guest stands still, and all of it is at the target */
    TUNNEL_FAILED,   /* either: it comes to nothing; why */
    TUNNEL_HALTED,   /* source: the guest stands still, its memory is to follow */
    TUNNEL_GO,       /* target: the guest is its own now; post-copy may begin */
    TUNNEL_TYPE_END
};

struct tunnel_frame {
    enum tunnel_type type;
    enum tunnel_door door; /* OPEN; else 0 */
    uint16_t channel;      /* OPEN, DATA, CREDIT, END; else 0 */
    uint32_t size;         /* bytes that follow the header */
};

struct tunnel_channel {
    bool is_used;
    enum tunnel_door door;
    bool sent_end, got_end;
    uint32_t may_send;    /* bytes; 0: wait for credit */
    uint32_t may_receive; /* what the other side may still send */
};

struct tunnel {
    bool is_source;
    bool has_hello; /* sent or received */
    bool is_asked, is_complete;
    bool is_halted, may_go;
    struct tunnel_channel channels[TUNNEL_MAX_CHANNELS];
};

void tunnel_header_encode(const struct tunnel_frame *frame, uint8_t ret[TUNNEL_HEADER_SIZE]);
/* -EBADMSG: no such frame, or one that is too large. */
int tunnel_header_decode(const uint8_t header[TUNNEL_HEADER_SIZE], struct tunnel_frame *ret);

/* Takes a frame from the other side with its payload and keeps the accounts. -EBADMSG: it must not
 * come here. */
int tunnel_accept(struct tunnel *t, const struct tunnel_frame *frame, const uint8_t *payload,
                  struct err *err);
/* Keeps the accounts of a frame that is sent; asserts what tunnel_accept refuses. `n`: of CREDIT,
 * the bytes. */
void tunnel_sent(struct tunnel *t, const struct tunnel_frame *frame, uint32_t n);
/* Source: a channel for whoever is at the door; -ENOSPC. */
int tunnel_free_channel(const struct tunnel *t);

#endif
