# Looking at a lab from outside (sourced by deploy/demo and the lab scenarios, as root; LAB names the lab): processes, their
# cgroups and files, as the host's kernel shows them. Nothing here asks Skein.

# look_processes COMM: lines "NODE PID" of the live processes of that name, NODE being n1...
look_processes() {
    local file node pid comm
    find /sys/fs/cgroup -path "*/skein-lab-$LAB/n*" -name cgroup.procs 2>/dev/null | while read -r file; do
        node=${file##*/skein-lab-"$LAB"/}
        while read -r pid; do
            { read -r comm <"/proc/$pid/comm"; } 2>/dev/null || continue
            [ "$comm" != "$1" ] || look_is_zombie "$pid" || echo "${node%%/*} $pid"
        done 2>/dev/null <"$file"
    done | sort -u
}

# Dead, or with a SIGKILL pending: it will never again run a line of its own.
look_is_zombie() {
    ! awk '/^State:.[ZX]/ { dead = 1 } /^S[ih][gd]Pnd:/ && $2 ~ /[13579bdf]..$/ { dead = 1 } END { exit dead || NR == 0 }' \
        "/proc/$1/status" 2>/dev/null
}

look_has_ended() { [ ! -e "/proc/$1" ] || look_is_zombie "$1"; }

# Frozen by its own cgroup or by one above it.
look_is_frozen() {
    local line group
    while read -r line; do
        group=${line#*:*:}
        case $line in
            *:freezer:*) [ "$(cat "/sys/fs/cgroup/freezer$group/freezer.state" 2>/dev/null)" = THAWED ] || return 0 ;;
            0::*) ! grep -qs '^frozen 1' "/sys/fs/cgroup$group/cgroup.events" \
                "/sys/fs/cgroup/unified$group/cgroup.events" || return 0 ;;
        esac
    done 2>/dev/null <"/proc/$1/cgroup"
    return 1
}

# look_running COMM: as look_processes, without the frozen ones.
look_running() {
    local node pid
    look_processes "$1" | while read -r node pid; do
        look_is_frozen "$pid" 2>/dev/null || look_is_zombie "$pid" || echo "$node $pid"
    done
}

# The first IPv4 address on eth0 in the network namespace of a process.
look_address() {
    nsenter --net="/proc/$1/ns/net" ip -4 -o address show dev eth0 2>/dev/null |
        awk '{ sub(/\/.*/, "", $4); print $4; exit }'
}

# The cores that a process may run on, as a list.
look_cores() { awk '/^Cpus_allowed_list:/ { print $2 }' "/proc/$1/status"; }
