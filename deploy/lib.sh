# Shared by the commands in deploy/ and by tests/run (sourced, bash): finding the project, taking root, preparing the
# host, entering the node image. Everything that a command mounts it mounts in a mount namespace of its own.

skein_source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
skein_cache=${SKEIN_CACHE:-/var/cache/skein}
skein_program=${0##*/}
SKEIN_BOARD=${SKEIN_BOARD:-}
board_image=${SKEIN_BOARD%%:*}     # in a board (deploy/board) these two are there, and are not made
board_build=${SKEIN_BOARD##*:}
image_needs_mib=3000     # a whole image and a build
build_needs_mib=300      # a build when the image is there

say() { printf '%s: %s\n' "$skein_program" "$*" >&2; }
die() { say "$*"; exit 1; }

# Starts the calling script again as root, through sudo, when it is not root. Call with the script's arguments.
take_root() {
    [ "$(id -u)" -eq 0 ] && return
    [ -x "$(command -v sudo)" ] || die "needs root, and there is no sudo here: run it as root"
    if ! sudo -n true 2>/dev/null && ! { [ -t 0 ] && sudo -v; }; then
        die "needs root, and sudo refuses: run it as root, or as a user who may use sudo"
    fi
    exec sudo -- env ${SKEIN_CACHE:+SKEIN_CACHE="$SKEIN_CACHE"} ${LAB:+LAB="$LAB"} ${TERM:+TERM="$TERM"} \
        ${FLOOD_SECONDS:+FLOOD_SECONDS="$FLOOD_SECONDS"} ${FLOOD_MBIT:+FLOOD_MBIT="$FLOOD_MBIT"} \
        ${MOVE_FAULTS:+MOVE_FAULTS="$MOVE_FAULTS"} \
        ${TWO_COPIES_FAULTS:+TWO_COPIES_FAULTS="$TWO_COPIES_FAULTS"} ${TWO_COPIES_SEED:+TWO_COPIES_SEED="$TWO_COPIES_SEED"} \
        "$(readlink -f "$0")" "$@"
}

# Prints the packages that the host lacks for the commands in deploy/.
host_lacks() {
    local pair
    for pair in ip:iproute2 tc:iproute2 unshare:util-linux nsenter:util-linux flock:util-linux mount:mount awk:mawk \
        sha256sum:coreutils; do
        command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
    done
    [ -z "$board_image" ] || return 0
    command -v mmdebstrap >/dev/null || echo mmdebstrap
    [ -e /usr/share/keyrings/debian-archive-trixie-stable.gpg ] ||
        [ -e /usr/share/keyrings/debian-archive-trixie-stable.pgp ] || echo debian-archive-keyring
}

check_debian() {
    local id='' version=''
    [ -r /etc/os-release ] && id=$(. /etc/os-release && echo "$ID") version=$(. /etc/os-release && echo "${VERSION_ID:-}")
    case $id:$version in
        debian:1[23]*) ;;
        *) die "this is not Debian 12 or 13 (it says '${id:-nothing} $version'): use a Debian machine, a virtual one will do" ;;
    esac
}

check_namespaces() {
    local why
    why=$(unshare --mount --pid --fork --net --uts --ipc --cgroup mount -t tmpfs none /mnt 2>&1) ||
        die "namespaces are not allowed here (${why##*: }): use a real or virtual machine, or a privileged container"
}

# check_disk MIB: room for that much more in the cache.
check_disk() {
    local dir=$skein_cache free
    until [ -d "$dir" ]; do dir=$(dirname "$dir"); done
    free=$(df --output=avail -m "$dir" | tail -n 1)
    [ "$free" -ge "$1" ] ||
        die "not enough disk: $1 MiB are needed in $skein_cache, $((free)) MiB are free (SKEIN_CACHE names another place)"
}

# Installs what the host lacks, and checks what cannot be installed.
prepare_host() {
    local lacks log
    check_debian
    lacks=$(host_lacks | sort -u | tr '\n' ' ')
    if [ -n "$lacks" ]; then
        say "installing on this machine: $lacks"
        log=$( (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $lacks) 2>&1) ||
            die "cannot install $lacks($(grep '^E:' <<<"$log" | tail -n 1)): check the network and apt's sources"
        [ -z "$(host_lacks)" ] || die "still missing after installation: $(host_lacks | tr '\n' ' ')"
    fi
    check_namespaces
}

# image_run ROOT BUILD CMD...: runs CMD in the image ROOT (read-only) with the project's source at /src (read-only, the
# working directory) and the directory BUILD at /build, in mount, pid and network namespaces of its own.
image_run() {
    unshare --mount --pid --fork --net --kill-child --propagation private -- bash -c '
        set -e
        root=$1 source=$2 build=$3; shift 3
        ip link set lo up
        mount --bind "$root" "$root"; cd "$root"
        mount --bind "$source" src; mount -o remount,bind,ro src
        mount --bind "$build" build
        mount -t proc proc proc; mount -t tmpfs -o mode=1777 tmp tmp; mount --rbind /dev dev
        mount -o remount,bind,ro "$root"
        cd "$root"; exec chroot . /usr/bin/env -i -C /src PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8 "$@"
    ' image_run "$1" "$skein_source" "$2" "${@:3}"
}
