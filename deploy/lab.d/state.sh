# The lab's names and records (sourced by deploy/lab). A lab is found again by its name alone: its cgroup, its switch's
# network namespace, its directories all bear it. The records only say what `up` was asked for and which pid boots a node.

lab=${LAB:-lab}
[[ $lab =~ ^[a-z0-9][a-z0-9-]{0,30}$ ]] || die "LAB must be 1 to 31 of a-z 0-9 '-', not '$lab'"
lab_name=skein-lab-$lab               # of the cgroup and of the switch's network namespace
lab_state=/run/skein-lab/$lab
lab_disk=$skein_cache/lab/$lab        # the nodes' disks (overlay upper directories)
lab_subnet=10.90.0
lab_underlay=10.99.0                  # of the nodes' ends of tunnels
lab_sink=$lab_subnet.254              # the switch's own address: where floods go

# Takes the lab for a command that changes it. The lock is on the directory of its records; descriptor 9 is inherited
# by all that the command starts until that stands in the lab's cgroup, so that who gets the lock after a killed command
# finds everything of it.
lab_lock() {
    local tries
    for tries in 1 2 3 4 5; do
        mkdir -p "$lab_state"
        exec 9<"$lab_state"
        flock -w 30 9 || die "another command is changing lab '$lab'"
        [ "$(stat -Lc %i "/proc/$$/fd/9")" = "$(stat -c %i "$lab_state" 2>/dev/null)" ] && return
    done
    die "cannot lock $lab_state"
}

# Removes the (empty) records as well.
lab_unlock() {
    rmdir "$lab_state" 2>/dev/null && rmdir "$(dirname "$lab_state")" 2>/dev/null || true
    exec 9<&-
}

conf_write() {
    local pair
    for pair in "$@"; do printf 'conf_%s=%q\n' "${pair%%=*}" "${pair#*=}"; done >"$lab_state/conf"
}

conf_read() {
    [ -r "$lab_state/conf" ] || { say "there is no lab '$lab': deploy/lab up makes it"; exit 125; }
    . "$lab_state/conf"
}

# process_start PID: its start time in clock ticks; fails when it is gone or a zombie.
process_start() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${stat##*) }
    [ "$1" != Z ] && [ "$1" != X ] && echo "${20}"
}
