/* limits: every bound that two rooms share. A bound of one room stands in that room's header. */
#ifndef SKEIN_BASE_LIMITS_H
#define SKEIN_BASE_LIMITS_H

enum {
    NAME_MAX_LENGTH = 32, /* of a node, guest, slice or image */
    NAME_SIZE = NAME_MAX_LENGTH + 1,
    LABEL_KEY_SIZE = 33,
    LABEL_VALUE_SIZE = 65,
    KEY_SIZE = 32,    /* X25519 and CURVE keys, in binary */
    DIGEST_SIZE = 32, /* BLAKE2b-256 of an image's bytes, of a token's secret */
    NONCE_SIZE = 16,  /* boot nonce, request id, cluster id */

    MAX_NODES = 1024,
    MAX_SLICES = 256,
    MAX_GUESTS = 4096,
    MAX_IMAGES = 256,
    MAX_TOKENS = 64,
    MAX_LABELS = 16, /* a node; also constraints a guest */
    MAX_CORES = 256, /* a node */
    MAX_GUEST_CORES = 64,
    MAX_NODE_GUESTS = 300,      /* that one node runs */
    MAX_VICTIMS = 64,           /* guests that give way to one */
    MAX_ARGUMENTS = 64,         /* argv and env of a guest, each */
    ARGUMENT_SIZE = 1024,       /* one of them, NUL included */
    USER_DATA_SIZE = 16 * 1024, /* cloud-init's, of one guest, NUL included */
    VM_OVERHEAD_MIB = 192,      /* what QEMU and its libvirtd take beside a VM's own memory */
    IMAGE_TEXT_MAX_SIZE =
        16 * 1024,        /* variables and commands of one image: they are in snapshots */
    DIRECTORY_SIZE = 256, /* a path inside a guest, NUL included */
    MAX_VOLUMES = 8,      /* a guest */
    REASON_SIZE = 160,    /* a refusal's words, NUL included */

    COMMAND_MAX_SIZE = 256 * 1024,
    SNAPSHOT_MAX_SIZE = 64 * 1024 * 1024,
    MESSAGE_MAX_SIZE = 1024 * 1024, /* one peer or API message */
};

/* Ports of a node. */
enum { PORT_API = 7400, PORT_RAFT = 7401, PORT_STREAM = 7402, PORT_VXLAN = 4789 };

/* Timers, ms. A config may override them. */
enum {
    DEFAULT_ELECTION_MS = 150,
    DEFAULT_HEARTBEAT_MS = 25,
    DEFAULT_BEAT_MS = 50,       /* B */
    DEFAULT_AUTHORITY_MS = 150, /* A */
    DEFAULT_LEASE_MS = 600,     /* L, and the ceiling of a new node */
    DEFAULT_FREEZE_MS = 20,     /* F */
    GROWN_LEASE_MS = 3000, /* no lease becomes longer by itself */
    MAX_LEASE_MS = 60000,  /* L itself */
    CLOCK_DRIFT_PERMILLE = 10, /* ρ: 1 % */
};

#endif
