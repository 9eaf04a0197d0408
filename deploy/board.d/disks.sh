# Disks of a board (sourced by deploy/board): files in $skein_cache/board. Roots stay, under the name of their image; what
# a run has lies in a directory of its own, which it holds a lock on.

disks=$skein_cache/board
disks_needs_mib=1600      # a root, a payload
disk_room_size=8G         # sparse: what a board can write

# Rooms of runs that were killed, and roots that were half made.
disks_clear() {
    local dir
    mkdir -p "$disks"
    for dir in "$disks"/run-*; do
        [ ! -d "$dir" ] || flock -n "$dir" rm -rf --one-file-system "$dir" || true
    done
}

disks_room() {
    check_disk "$disks_needs_mib"
    mktemp -d "$disks/run-XXXXXX"
}

# disk_ext4 FILE LABEL SIZE [DIRECTORY]
disk_ext4() {
    truncate -s "$3" "$1" &&
        mke2fs -q -F -t ext4 -L "$2" -O ^has_journal -E root_owner=0:0,lazy_itable_init=1 ${4:+-d "$4"} "$1"
}

# disk_root IMAGE FILE: a file system of all of IMAGE, made when it is first asked for; FILE becomes another name of it.
disk_root() {
    local made=$disks/root-${1##*/} mib
    exec 8<"$disks"
    flock 8
    if [ ! -e "$made" ]; then
        say "making a board's root of ${1##*/} (once)"
        mib=$(du -sm --one-file-system "$1" | cut -f1)
        rm -f "$made.new"
        disk_ext4 "$made.new" root "$((mib * 5 / 4 + 200))M" "$1" && mv "$made.new" "$made" || return 1
    fi
    ln "$made" "$2"
    exec 8<&-
}

# disk_payload BUILD RUN CMD...: the files RUN/payload (source, build, the command, its first program) and RUN/room.
disk_payload() {
    local build=$1 run=$2 tree=$2/tree
    shift 2
    mkdir "$tree" "$tree/src" "$tree/build" &&
        tar -C "$skein_source" --exclude=./.git -cf - . | tar -C "$tree/src" -xf - &&
        cp -a "$build/." "$tree/build" &&
        printf '%s\0' "$@" >"$tree/command" &&
        cp "$skein_source/deploy/board.d/init" "$tree/init" &&
        disk_ext4 "$run/payload" payload "$(($(du -sm "$tree" | cut -f1) * 5 / 4 + 40))M" "$tree" &&
        rm -rf "$tree" &&
        disk_ext4 "$run/room" room "$disk_room_size"
}
