#include "migrate/room.h"

#include <errno.h>

void room_need_of(const struct look *look, enum move_mode mode, struct room_need *ret)
{
    *ret = (struct room_need){
        .files_bytes = look->files_bytes - look->volumes_bytes - look->shm_bytes,
        .volumes_bytes = look->volumes_bytes,
        .memory_bytes = look->shm_bytes,
    };
    if (look->stages_memory && mode != MOVE_POST)
        ret->memory_bytes += look->memory_bytes;
}

static unsigned long long mib(uint64_t bytes)
{
    return (unsigned long long)(bytes >> 20);
}

static int check(uint64_t room, uint64_t spare, uint64_t need, const char *what, const char *node,
                 struct err *err)
{
    uint64_t more = need + need / ROOM_MORE_SHARE + spare, up = (1u << 20) - 1;

    if (need == 0 || more <= room)
        return 0;
    return err_set(err, -ENOSPC, "%s has %llu MiB free for %s, it brings %llu MiB (needs %llu)",
                   node, mib(room), what, mib(need + up), mib(more + up));
}

int room_check(const struct node_room *room, const struct room_need *need, const char *node,
               struct err *err)
{
    uint64_t spare = (uint64_t)ROOM_SPARE_MIB << 20;
    int rc;

    if (!room->is_known)
        return 0;
    if (room->is_one) {
        rc = check(room->files_bytes, spare, need->files_bytes + need->volumes_bytes, "files", node,
                   err);
    } else {
        rc = check(room->files_bytes, spare, need->files_bytes, "files", node, err);
        if (rc == 0)
            rc = check(room->volumes_bytes, 0, need->volumes_bytes, "volumes", node, err);
    }
    return rc < 0 ? rc : check(room->memory_bytes, 0, need->memory_bytes, "memory", node, err);
}

void room_encode(const struct node_room *room, struct writer *w)
{
    write_bool(w, room->is_known);
    write_u64(w, room->files_bytes);
    write_u64(w, room->volumes_bytes);
    write_bool(w, room->is_one);
    write_u64(w, room->memory_bytes);
}

void room_decode(struct reader *r, struct node_room *ret)
{
    ret->is_known = read_bool(r);
    ret->files_bytes = read_u64(r);
    ret->volumes_bytes = read_u64(r);
    ret->is_one = read_bool(r);
    ret->memory_bytes = read_u64(r);
}
