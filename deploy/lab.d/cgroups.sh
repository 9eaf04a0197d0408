# Cgroups of a lab (sourced by deploy/lab): one group a lab in every hierarchy of the host, one below it a node. They
# limit little; they say which process belongs to the lab, and they are what a node sees as its own /sys/fs/cgroup.

node_rt_period_us=100000
node_rt_shares_us='20000 10000 5000 2000'    # the first that the host still has to give

# Lines "MOUNTPOINT TYPE OPTIONS" of the host's hierarchies.
cgroup_mounts() {
    awk '($3 == "cgroup" || $3 == "cgroup2") && $2 ~ "^/sys/fs/cgroup(/|$)" && !seen[$2]++ { print $2, $3, $4 }' \
        /proc/self/mounts
}

# cgroup_make PATH: the group PATH (its parents too) in every hierarchy.
cgroup_make() {
    local mount type options group part
    while read -r mount type options; do
        group=$mount
        for part in ${1//\// }; do
            [ "$type" != cgroup2 ] || cgroup_enable_v2 "$group"
            group=$group/$part
            mkdir -p "$group"
            case ,$options, in
                *,cpuset,*) cgroup_fill_cpuset "$group" ;;
                *,cpu,*) cgroup_give_rt "$group" ;;
            esac
        done
    done < <(cgroup_mounts)
}

# A v1 cpuset takes nobody in before it has processors and memory nodes.
cgroup_fill_cpuset() {
    local file
    for file in cpuset.cpus cpuset.mems; do
        [ -n "$(cat "$1/$file")" ] || cat "$1/../$file" >"$1/$file"
    done
}

# A new v1 cpu group has no real-time budget, and SCHED_FIFO fails in it. A short period, so that who overruns his
# share waits for tens of milliseconds and not for a second. The lab's group gets what its nodes add.
cgroup_give_rt() {
    local share parent
    [ -e "$1/cpu.rt_runtime_us" ] && [ "${1##*/}" != "$lab_name" ] || return 0
    [ "$(cat "$1/cpu.rt_runtime_us")" -eq 0 ] || return 0
    parent=${1%/*}
    for share in $node_rt_shares_us; do
        echo "$node_rt_period_us" >"$parent/cpu.rt_period_us" 2>/dev/null
        echo $(($(cat "$parent/cpu.rt_runtime_us") + share)) 2>/dev/null >"$parent/cpu.rt_runtime_us" || continue
        echo "$node_rt_period_us" >"$1/cpu.rt_period_us" && echo "$share" >"$1/cpu.rt_runtime_us" && return
    done
    say "no real-time budget is left for ${1##*/}: its lease thread runs without SCHED_FIFO"
}

# Hands on what controllers there are; a group with processes of its own cannot, and then hands on none.
cgroup_enable_v2() {
    local controller
    for controller in $(cat "$1/cgroup.controllers"); do
        echo "+$controller" 2>/dev/null >"$1/cgroup.subtree_control" || true
    done
}

# cgroup_enter PATH: moves the calling (sub)shell into the group. In a pure v2 tree a node's processes live in the leaf
# `init` below, because the group itself hands controllers on.
cgroup_enter() {
    local mount type options group
    while read -r mount type options; do
        group=$mount/$1
        [ ! -d "$group/init" ] || group=$group/init
        echo "$BASHPID" >"$group/cgroup.procs"
    done < <(cgroup_mounts)
}

# All existing directories of the group PATH, one a hierarchy.
cgroup_dirs() {
    local mount type options
    while read -r mount type options; do
        [ ! -d "$mount/$1" ] || echo "$mount/$1"
    done < <(cgroup_mounts)
}

# cgroup_set_frozen PATH yes|no: the group itself (not the groups that somebody froze below it).
cgroup_set_frozen() {
    local dir
    for dir in $(cgroup_dirs "$1"); do
        if [ -e "$dir/freezer.state" ]; then
            [ "$2" = yes ] && echo FROZEN >"$dir/freezer.state" || echo THAWED >"$dir/freezer.state"
            return
        fi
    done
    for dir in $(cgroup_dirs "$1"); do
        if [ -e "$dir/cgroup.freeze" ]; then
            [ "$2" = yes ] && echo 1 >"$dir/cgroup.freeze" || echo 0 >"$dir/cgroup.freeze"
            return
        fi
    done
    die "this machine has no freezer"
}

cgroup_pids() {
    local dirs
    dirs=$(cgroup_dirs "$1")
    [ -z "$dirs" ] || find $dirs -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un
}

# Kills every process of the group and below, then removes the groups. What a v1 freezer holds dies only when thawed, and
# with the signal pending it does not run before.
cgroup_destroy() {
    local dirs pids tries
    for ((tries = 0; tries < 1000; tries++)); do
        dirs=$(cgroup_dirs "$1")
        [ -n "$dirs" ] || return 0
        pids=$(cgroup_pids "$1")
        if [ -n "$pids" ]; then
            kill -9 $pids 2>/dev/null || true
            find $dirs -name freezer.state -exec sh -c 'for f; do echo THAWED >"$f"; done' sh {} + 2>/dev/null || true
        else
            find $dirs -depth -type d -exec rmdir {} + 2>/dev/null && continue    # EBUSY for some ms after a kill
        fi
        sleep 0.01
    done
    die "cannot remove the cgroup $1: processes $(cgroup_pids "$1" | tr '\n' ' ')do not die"
}
