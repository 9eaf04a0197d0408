/* keyring: who may speak to this node, shared between threads.
 *
 * The main thread replaces the table whenever the replicated state changes; links of other threads
 * look up a peer by id (whom they call) or by key (who calls them), and drop the live links of
 * whoever is no longer in it: watchers are told of each new generation. */
#ifndef SKEIN_CONSENSUS_KEYRING_H
#define SKEIN_CONSENSUS_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"

struct keyring;

struct keyring_entry {
    uint64_t id;
    uint8_t link_key[KEY_SIZE];
    uint32_t address; /* IPv4, of its control plane */
};

enum { KEYRING_MAX_WATCHERS = 16 };

struct keyring *keyring_new(void); /* NULL: no memory */
/* Nobody may watch it any more. NULL is fine. */
void keyring_free(struct keyring *keyring);

/* Replaces the whole table (entries are copied). When anything differs, the generation grows and
 * the watchers are called. -EINVAL: id 0, an id or a key twice, or more than MAX_NODES; -ENOMEM. */
int keyring_replace(struct keyring *keyring, const struct keyring_entry *entries, size_t n);

bool keyring_find(struct keyring *keyring, uint64_t id, struct keyring_entry *ret);
bool keyring_find_key(struct keyring *keyring, const uint8_t key[KEY_SIZE],
                      struct keyring_entry *ret);
/* Whether any entry has this address. */
bool keyring_has_address(struct keyring *keyring, uint32_t address);

/* Grows with each change, from 0. */
uint64_t keyring_generation(struct keyring *keyring);

/* `changed` is called under the keyring's lock by the thread that replaces: it must only wake its
 * own thread (uv_async_send). After keyring_unwatch returns it is not called again. -ENOBUFS. */
int keyring_watch(struct keyring *keyring, void (*changed)(void *data), void *data);
void keyring_unwatch(struct keyring *keyring, void (*changed)(void *data), void *data);

#endif
