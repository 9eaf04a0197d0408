/* room_jansson: node.room, what is free on this node for guests that come to it; asked by a node
 * that says whether one of its guests can move here. */
#include "agent/api/internal_jansson.h"
#include "agent/guest/room_posix.h"

void api_node_room(struct api *api, struct call *call)
{
    struct node_room room;

    guest_room(&room);
    if (room.is_known)
        api_ok(api, &call->asker, room_to_json(&room), NULL);
    else
        api_error(api, &call->asker, "failed", "what is free here cannot be found out");
}

json_t *room_to_json(const struct node_room *room)
{
    return json_pack("{s:I, s:I, s:b, s:I}", "files_bytes", (json_int_t)room->files_bytes,
                     "volumes_bytes", (json_int_t)room->volumes_bytes, "is_one", room->is_one,
                     "memory_bytes", (json_int_t)room->memory_bytes);
}

void room_of_answer(const json_t *answer, struct node_room *ret)
{
    const json_t *result = json_object_get(answer, "result");
    json_int_t files, volumes, memory;
    int is_one;

    *ret = (struct node_room){0};
    if (json_unpack((json_t *)result, "{s:I, s:I, s:b, s:I}", "files_bytes", &files,
                    "volumes_bytes", &volumes, "is_one", &is_one, "memory_bytes", &memory) < 0 ||
        files < 0 || volumes < 0 || memory < 0)
        return;
    *ret = (struct node_room){.is_known = true,
                              .files_bytes = (uint64_t)files,
                              .volumes_bytes = (uint64_t)volumes,
                              .is_one = is_one != 0,
                              .memory_bytes = (uint64_t)memory};
}
