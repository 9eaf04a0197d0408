/* vm_seed: the disk that cloud-init's NoCloud source reads (libarchive). */
#ifndef SKEIN_AGENT_GUEST_VM_SEED_ARCHIVE_H
#define SKEIN_AGENT_GUEST_VM_SEED_ARCHIVE_H

#include "agent/guest/guest.h"

/* Writes an ISO 9660 image with the volume id CIDATA: meta-data, network-config, user-data. */
int vm_seed_write(const struct guest_run *run, const char *path, struct err *err);

#endif
