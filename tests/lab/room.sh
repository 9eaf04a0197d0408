# A room (sourced by scenarios that test one daemon by itself, bash): the node image with namespaces and cgroups of its own,
# but no node-init, switch or network. Nothing of it stays.

. "$skein_root/deploy/lib.sh"
. "$skein_root/deploy/lab.d/cgroups.sh"
lab_name=skein-room-$LAB

# room CMD...: runs CMD in the room (the build is at /build) and removes the room. room_cgroups=v2: it sees the unified
# hierarchy only.
room() {
    local rc=0 image build
    build=$("$skein_root/deploy/build")
    image=$("$skein_root/deploy/image")
    cgroup_make "$lab_name/room"
    ( cgroup_enter "$lab_name/room" && room_enter "$image" "$build" "$@" ) || rc=$?
    cgroup_destroy "$lab_name"
    return $rc
}

room_enter() {
    unshare --mount --pid --fork --net --uts --ipc --cgroup --kill-child --propagation private -- \
        bash "$skein_root/tests/lab/room_init" "${room_cgroups:-all}" "$@"
}
