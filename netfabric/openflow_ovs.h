/* openflow_ovs: one kept OpenFlow 1.4 connection to br-int, over the switch's own socket.
 *
 * It remembers what it made the switch hold. That is forgotten with the connection, which ends when
 * the switch does: the next rules then replace all that the switch has.
 */
#ifndef SKEIN_NETFABRIC_OPENFLOW_OVS_H
#define SKEIN_NETFABRIC_OPENFLOW_OVS_H

#include <stdbool.h>

#include "base/err.h"
#include "netfabric/flows.h"

struct openflow {
    int fd; /* -1 = not connected */
    uint32_t xid;
    struct rules rules; /* that the switch holds */
    uint32_t n_meters;
    struct meter *meters; /* likewise; heap */
};

void openflow_init(struct openflow *o);
void openflow_deinit(struct openflow *o); /* safe twice */
/* Connects unless it is connected to a switch that lives; *ret_is_new: nothing is known of what the
 * switch holds. */
int openflow_connect(struct openflow *o, bool *ret_is_new, struct err *err);
/* Makes the switch's meters and rules equal to these: meters first, since rules name them; then the
 * rules in one bundle, which the switch takes whole or not at all. Takes `rules` (sorted). A meter
 * that no rule names any more stays. After an error it is not connected. */
int openflow_apply(struct openflow *o, const struct meter *meters, uint32_t n_meters,
                   struct rules *rules, struct err *err);
/* Done when the switch has answered; it is connected. After an error it is not. */
int openflow_probe(struct openflow *o, struct err *err);

#endif
