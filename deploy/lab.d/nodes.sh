# The lab's nodes (sourced by deploy/lab): power on and off, commands in them, their services. Node K's first process is
# recorded as "PID STARTTIME" in nK.pid; a record whose process is gone, or is another one, means that the node is off.

node_pid() {
    local pid start
    { read -r pid start <"$lab_state/n$1.pid"; } 2>/dev/null || return 1
    [ -n "$start" ] && [ "$(process_start "$pid")" = "$start" ] && echo "$pid"
}

# node_boot K: starts its first process (lab.d/boot), which waits for its cable.
node_boot() {
    local k=$1 disk=$lab_disk/n$1
    mkdir -p "$disk/upper" "$disk/work" "$disk/root"
    rm -f "$lab_state/n$k.pid"
    cgroup_make "$lab_name/n$k"
    (
        cgroup_enter "$lab_name/n$k"
        exec 9<&-
        exec setsid env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
            node="$k" nodes="$conf_nodes" cores="$conf_cores" backhaul="$conf_backhaul" cgroups="$conf_cgroups" \
            settings="$conf_settings" subnet="$lab_subnet" underlay="$lab_underlay" image="$conf_image" \
            build="$conf_build" disk="$disk" pid_file="$lab_state/n$k.pid" \
            unshare --pid --fork --mount --net --uts --ipc --cgroup --propagation private \
            bash "$deploy/lab.d/boot"
    ) </dev/null >"$lab_state/n$k.log" 2>&1 &
    disown    # its end by power off is no news
}

# node_until K WHAT CMD...: runs CMD until it succeeds, WHAT being what that means.
node_until() {
    local tries
    for ((tries = 0; tries < 6000; tries++)); do
        "${@:3}" && return
        sleep 0.01
        [ "$tries" -lt 1000 ] || node_pid "$1" >/dev/null || break
    done
    tail -n 5 "$lab_state/n$1.log" "$lab_disk/n$1/upper/var/log/node-init.log" >&2 || true
    die "n$1 did not come up: $2"
}

node_plug() {
    node_until "$1" 'no first process' node_has_pid "$1"
    switch_plug "$1" "$(node_pid "$1")"
}

node_has_pid() { node_pid "$1" >/dev/null; }

node_await() {
    node_until "$1" 'its services did not start' test -e "/proc/$(node_pid "$1")/root/run/node/ready"
    node_until "$1" 'skeind does not answer' test -S "/proc/$(node_pid "$1")/root/run/skein/api.sock"
}

# Everything of the node is gone when this returns.
node_kill() {
    local pid
    if pid=$(node_pid "$1"); then kill -9 "$pid"; fi
    cgroup_destroy "$lab_name/n$1"
    rm -f "$lab_state/n$1.pid"
}

# node_exec K CMD...: runs CMD in the node, in all its namespaces and its cgroups, with stdio only.
node_exec() (
    pid=$(node_pid "$1") || { say "n$1 is off: deploy/lab start n$1"; exit 125; }
    cgroup_enter "$lab_name/n$1"
    exec 9<&-
    exec nsenter -t "$pid" -m -u -i -n -p -C -- /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LANG=C.UTF-8 TERM="${TERM:-dumb}" "${@:2}"
)

# node_signal K SIGNAL SERVICE
node_signal() {
    local pid inner
    pid=$(node_pid "$1") || die "n$1 is off"
    { read -r inner <"/proc/$pid/root/run/node/$3.pid"; } 2>/dev/null || die "$3 does not run on n$1"
    nsenter -t "$pid" -m -p -- /usr/bin/kill "-$2" "$inner"
}

node_stop() {
    case $2 in
        skeind | skein-guard) node_signal "$1" STOP "$2" ;;
        node) cgroup_set_frozen "$lab_name/n$1" yes ;;
        *) usage ;;
    esac
}

node_cont() {
    local service
    case ${2:-all} in
        skeind | skein-guard) node_signal "$1" CONT "$2" ;;
        node) cgroup_set_frozen "$lab_name/n$1" no ;;
        all)
            cgroup_set_frozen "$lab_name/n$1" no
            for service in skein-guard skeind; do
                [ ! -e "/proc/$(node_pid "$1")/root/run/node/$service.pid" ] || node_signal "$1" CONT "$service"
            done
            ;;
        *) usage ;;
    esac
}

# running, or stopped when all of it hangs
node_state() {
    local dir
    for dir in $(cgroup_dirs "$lab_name/n$1"); do
        if [ "$(cat "$dir/freezer.self_freezing" "$dir/cgroup.freeze" 2>/dev/null | head -n 1)" = 1 ]; then
            echo stopped
            return
        fi
    done
    echo running
}

node_services() {
    local file
    for file in "/proc/$1/root/run/node/"*.pid; do
        [ ! -e "$file" ] || echo "$(basename "$file" .pid)"
    done | tr '\n' ' '
}
