/* deadline_code: the two programs of the deadline filter, written out by hand (shell: bpf(2)).
 *
 * Both read one number, CLOCK_BOOTTIME in ns, from a map, and pass everything until it.
 */
#ifndef SKEIN_AGENT_GUARD_DEADLINE_CODE_BPF_H
#define SKEIN_AGENT_GUARD_DEADLINE_CODE_BPF_H

#include <linux/bpf.h>
#include <stdint.h>

#include "base/err.h"

enum deadline_code {
    DEADLINE_PORT,   /* XDP: after the deadline it drops every packet */
    DEADLINE_UPLINK, /* tc: after the deadline it drops VXLAN, unless its sender is exempt */
};

/* Key of the map of the exempt: as the bytes are in a packet. */
struct deadline_exempt_key {
    uint8_t vni[4]; /* big-endian in the first three */
    uint8_t mac[6]; /* the inner source */
    uint8_t zero[2];
};

/* One bpf(2); negative errno. */
int bpf_call(enum bpf_cmd command, union bpf_attr *attr);
/* Loads the program; a descriptor, or a negative errno. */
int deadline_code_load(enum deadline_code code, int deadline_fd, int exempt_fd, struct err *err);

#endif
