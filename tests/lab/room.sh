# A room (sourced by scenarios that test one daemon by itself, bash): the node image with namespaces and cgroups of its own,
# but no node-init, switch or network. Nothing of it stays.

. "$skein_root/deploy/lib.sh"
. "$skein_root/deploy/lab.d/cgroups.sh"
lab_name=skein-room-$LAB

# room CMD...: runs CMD in the room (the build is at /build) and removes the room.
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
    unshare --mount --pid --fork --net --uts --ipc --cgroup --kill-child --propagation private -- bash -c '
        set -e
        root=$1 build=$2; shift 2
        mount --bind "$root" "$root"; cd "$root"
        mount --bind "$build" build; mount -t proc proc proc; mount --rbind /dev dev; mount -t sysfs sysfs sys
        for dir in tmp run var/lib var/log; do mount -t tmpfs -o mode=755 tmpfs "$dir"; done
        [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
        while read -r where type options; do
            mkdir -p "$root$where"
            if [ "$type" = cgroup ]; then
                options=$(tr , "\n" <<<"$options" | grep -vxE "r[wo]|nosuid|nodev|noexec|relatime|noatime|xattr|clone_children" |
                    paste -sd ,)
                mount -t cgroup -o "${options/#name=/none,name=}" cgroup "$root$where"
            else
                mount -t cgroup2 cgroup2 "$root$where"
            fi
        done < <(awk "(\$3 == \"cgroup\" || \$3 == \"cgroup2\") && !seen[\$2]++ { print \$2, \$3, \$4 }" /proc/self/mounts)
        ip link set lo up
        exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8 CMOCKA_MESSAGE_OUTPUT=TAP "$@"
    ' room_enter "$@"
}
