/* loss_origin: the moment that the guests' way back from a lost or rebooted node is counted from, as
 * the leader that proposed the loss saw it; for people, nothing decides by it (plain values, codec).
 * It goes through the log, so that whoever leads next can tell the whole way. */
#ifndef SKEIN_CONSENSUS_LOSS_ORIGIN_H
#define SKEIN_CONSENSUS_LOSS_ORIGIN_H

#include "base/bytes.h"

enum loss_since {
    LOSS_SINCE_NOTHING = 0, /* no loss */
    LOSS_SINCE_BEAT,        /* the node's last beat (before its reboot) that the leader heard */
    LOSS_SINCE_ANSWER,      /* the node led: its last answer to the node that leads after it */
    LOSS_SINCE_ELECTION,    /* the leader's election: it never heard the node */
};

struct loss_origin {
    enum loss_since since;
    uint32_t ago_ms; /* before the loss was proposed */
    /* In ms after that moment; 0: not known. */
    uint32_t lease_end_ms; /* of the last lease that the leader granted */
    uint32_t elected_ms;   /* ANSWER: when the leader was elected */
};

void loss_origin_encode(const struct loss_origin *origin, struct writer *w);
void loss_origin_decode(struct reader *r, struct loss_origin *ret); /* marks the reader on failure */

#endif
