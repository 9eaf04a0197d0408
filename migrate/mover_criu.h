/* mover_criu: what the parts of the CRIU mover share. See mover.h for the contract.
 *
 * A cell is frozen by its cgroup, dumped by CRIU into `checkpoint` (tmpfs), and sent together with
 * its upper layer, /dev, /dev/shm, volumes and log as one stream (stream.h). Its memory is part of
 * that (stop-and-copy), was sent before (pre-copy, rounds_criu.c), or follows later (post-copy,
 * lazy_criu.h); most of its files may have been sent before as well (ahead_criu.h). The network is
 * not CRIU's to lock: whoever orders the capture closes the guest's port.
 */
#ifndef SKEIN_MIGRATE_MOVER_CRIU_H
#define SKEIN_MIGRATE_MOVER_CRIU_H

#include "migrate/mover.h"

/* Directories and files of one migration, all below or beside what the guest has. */
struct mover_paths {
    char images[256]; /* CHECKPOINT/images: CRIU's files */
    char dev[256];    /* CHECKPOINT/dev, CHECKPOINT/shm: mounted between receive and activate */
    char shm[256];
    char stream[256]; /* source: between copy and capture, where the stream is */
    char ahead[256];  /* source: likewise, what was copied of files (ahead_criu.h) */
    char pid_file[256];
    char dumper[256];    /* source: criu has not let go of the guest yet (presence_posix.h) */
    char server[256];    /* source, POST: somebody gives out memory (presence_posix.h) */
    char pager[256];     /* target, POST: somebody fetches memory */
    char verdict[256];   /* of the one who fetched: empty, or what went wrong */
    char holder[256];    /* target: somebody restores it ahead, and holds it (presence_posix.h) */
    char restored[256];  /* target: he has restored it */
    char let_go[256];    /* of the one who held it: empty, or what went wrong when he let go */
    char progress[256];  /* source: how far it is (progress_posix.h) */
    char new_upper[256]; /* UPPER.new and the like: until the stream is verified */
    char new_volumes[256];
    char new_log[256];
};

/* -ENAMETOOLONG when the guest's paths leave no room. */
int mover_paths_init(struct mover_paths *paths, const struct mover_guest *guest, struct err *err);

/* Removes all of them but the guest's own upper layer, volumes and log. A dump whose guard died is
 * waited for, also one for a checkpoint: as its last act criu puts the guest's freezer back to what
 * it found. */
int mover_remove_checkpoint(const struct mover_guest *guest, struct err *err);

/* What the guest's processes hold, shared pages once. */
uint64_t mover_memory(const struct mover_guest *guest); /* look_criu.c */
/* What they wrote of it since a round of pre-copy began. */
uint64_t mover_written(const struct mover_guest *guest); /* look_criu.c */

/* CLOCK_BOOTTIME. */
uint64_t mover_now_us(void);

int mover_check(const struct mover_guest *guest, struct err *err); /* check_criu.c */
int mover_look(const struct mover_guest *guest, struct look *ret,
               struct err *err);                                       /* look_criu.c */
void mover_measure(const struct mover_guest *guest, struct look *ret); /* look_criu.c */
int mover_ready(const struct mover_guest *guest, uint32_t link_kbps,
                struct err *err); /* capture_criu.c */
int mover_copy(const struct mover_guest *guest, int fd, const struct mover_order *order,
               struct mover_report *ret, struct err *err); /* rounds_criu.c */
int mover_capture(const struct mover_guest *guest, int fd, const struct mover_order *order,
                  struct mover_report *ret, struct err *err); /* capture_criu.c */
int mover_receive(const struct mover_guest *guest, int fd, struct mover_report *ret,
                  struct err *err); /* receive_criu.c */
/* What it fills, empty, and its mounts, among those of the caller. */
int receive_make_places(const struct mover_guest *guest, const struct mover_paths *paths,
                        struct err *err);
int mover_checkpoint(const struct mover_guest *guest, uint64_t since_us, struct mover_report *ret,
                     struct err *err); /* checkpoint_criu.c */
int mover_send(const struct mover_guest *guest, int fd, const uint8_t since[DIGEST_SIZE],
               struct mover_report *ret,
               struct err *err); /* checkpoint_send_criu.c, and down to mover_reset_peers */
int mover_receive_kept(const struct mover_guest *guest, int fd, const uint8_t digest[DIGEST_SIZE],
                       struct mover_report *ret, struct err *err);
int mover_reset_peers(const struct mover_guest *guest, struct err *err);
int mover_stand_by(const struct mover_guest *guest, struct err *err); /* restore_criu.c */
int mover_await_restored(const struct mover_guest *guest, struct err *err);
int mover_activate(const struct mover_guest *guest, pid_t *ret_pid, struct err *err);
/* Of activate only this: lets go of what was restored ahead. 1: it runs; 0: there was nothing. */
int mover_let_go(const struct mover_guest *guest, pid_t *ret_pid, struct err *err);
/* What activate of one that runs gives back. 1: its memory is still on its way; 0: it is here. */
int mover_memory_follows(const struct mover_guest *guest, struct err *err);
int mover_await(const struct mover_guest *guest, struct err *err); /* mover_criu.c */

#endif
