#!/bin/bash
# The move of a virtual machine is disturbed: amid its pre-copy, when it is halted for post-copy and the hand-over is not committed
# yet, also when the target has received it, when it is committed and the target has not let it go, and while its memory follows
# it. Then QEMU, libvirtd or the mover of the source or the target is killed, either node loses power, the link between them is cut,
# or the move is cancelled. The machine runs once afterwards: with its memory where a whole copy of that is left, else booted anew;
# `events` says which, and nothing half-made stays. A process that is stopped holds the move where it is struck.
# MOVE_FAULTS=all (`tests/run faults`) strikes everything everywhere, MOVE_FAULTS='STEP WHO DEED[; …]' only so; without it the most
# important come once.
# limit: 3600
. "$(dirname "$0")/lib.sh"
. "$scenarios/vm.sh"

# ---- what can be done to a move

# hold STEP: the move that has begun stops there
hold() {
    case $1 in
        copying) wait_until 240 copies_some ;;    # slowly
        halted) stop_job "$b" && wait_until 240 is_captured && step_is copying ;;        # the target does not say "received"
        received) stop_job "$a" && wait_until 240 has_received && step_is copying ;;     # the source does not say "captured"
        committed) stop_job "$a" && wait_until 240 has_received && step_is copying && stop_keeper ;;
        fetching) wait_until 240 step_is fetching && held=$(mover_of "$a") && kill -STOP "$held" && step_is fetching ;;
    esac
}
# From that step on the guard of either end has one part in the move, until all has crossed.
stop_job() {
    wait_until 240 step_is copying && wait_until 60 captures && wait_until 60 has_executor "$1" && wait_until 60 job_is_stopped
}
# The source has begun to copy: what it asked the machine before is over.
captures() { on "$a" test -e /run/skein/guests/vm1/checkpoint; }
has_executor() { executor=$(executor_of "$1") && [ -n "$executor" ]; }
# One that ends just then was the one before.
job_is_stopped() { held=$(jobs_of "$executor" | head -n 1) && kill -STOP "$held" && wait_until 1 stands "$held"; }
stands() { grep -q '^State:.T' "/proc/$1/status"; }
# The target's guard has said "received"; it is the machine's own process there that does not let it go.
stop_keeper() {
    local pid=$(keeper_of "$b")
    kill -STOP "$pid" && release && held=$pid && wait_until 240 step_is committed && wait_until 60 has_word
}
has_word() { [ -n "$(job_of "$b")" ]; }
parent() { awk '/^PPid:/ { print $2 }' "/proc/$1/status"; }
# Of node K; on a target the mover is who hears what libvirt says of it.
keepers_of() { look_processes skein-vm | awk -v node="n$1" '$1 == node { print $2 }'; }
# of_keepers NODE IS: those of its keepers whose parent IS (=, !=) one as well; one that ends meanwhile is none
of_keepers() {
    local pid comm
    for pid in $(keepers_of "$1"); do
        ! comm=$(cat "/proc/$(parent $pid)/comm") || [ ! "$comm" "$2" skein-vm ] || echo $pid
    done
} 2>/dev/null
keeper_of() { of_keepers "$1" !=; }
mover_of() { of_keepers "$1" =; }
libvirtd_of() { look_processes libvirtd | awk -v node="n$1" '$1 == node { print $2 }'; }
qemu_of() { look_processes $qemu | awk -v node="n$1" '$1 == node { print $2 }'; }
step_is() { json "$watcher" '.[0].step // ""' skein migration list | has -x "$1"; }
# The guard's process that is the parent of a machine's first one on node K, and of whoever does something for it
executor_of() { parent "$(keeper_of "$1")"; } 2>/dev/null
# The oldest first
jobs_of() {
    local pid comm
    for pid in $(cat "/proc/$1/task/$1/children"); do
        ! comm=$(cat "/proc/$pid/comm") || [ "$comm" != skein-guard ] || echo "$pid"
    done
} 2>/dev/null
job_of() { jobs_of "$(executor_of "$1")"; }
is_captured() { json "$watcher" '.[0].bytes' skein migration list | has '[0-9]'; }
is_over_there() { [ -z "$(keeper_of "$b")" ]; }
has_received() { [ -n "$(keeper_of "$b")" ] && [ -z "$(job_of "$b")" ]; }
release() { [ -z "$held" ] || kill -CONT "$held"; held=''; } 2>/dev/null

# Its memory is given back, and its parent can know: that takes a while after the signal.
is_dead() { [ ! -e "/proc/$1" ] || [ "$(ls "/proc/$1/task" | wc -l) $(awk '/^State:/ { print $2 }' "/proc/$1/status")" = '1 Z' ]; } 2>/dev/null

# strike WHO DEED, WHO being a node's number
strike() {
    local pid
    case $2 in
        qemu | libvirtd | mover) pid=$("$2_of" "$1") && kill -KILL "$pid" && wait_until 60 is_dead "$pid" ;;
        power) lab kill "n$1" ;;
        link) lab cut "n$a" --from "n$b"; lab cut "n$b" --from "n$a" ;;
        cancel) here skein migration cancel "$(json "$watcher" '.[0].id' skein migration list)" ;;
    esac
}
mend() {
    case $2 in
        power) lab start "n$1" ;;
        link) lab heal "n$a"; lab heal "n$b" ;;
    esac
}

# ---- what must be true afterwards

# What is there of the machine on node K besides what the node needs to run it; all of it where it does not run
leftovers() {
    if [ "$1" = "$home" ]; then
        on "$1" sh -c 'ls -d /run/skein/guests/vm1/checkpoint* /var/lib/skein/guests/vm1/*.new; true' 2>/dev/null
        [ "$(look_processes skein-vm | grep -c "^n$1 ")" = 1 ] || look_processes skein-vm
        [ "$(look_processes libvirtd | grep -c "^n$1 ")" = 1 ] || look_processes libvirtd
    else
        on "$1" sh -c 'ls -d /run/skein/guests/vm1 /run/skein/netns/vm1 /var/lib/skein/guests/vm1 /var/log/skein/guests/vm1*.new
            ls -A /run/skein/guard; ovs-vsctl --timeout=60 list-ports br-int | grep -x "g[0-9]*"
            find /sys/fs/cgroup -path "*skein/guests/*" -name vm1
            pgrep -l "qemu|libvirt|skein-vm"; true' 2>/dev/null
    fi
}
is_clean() { equal "$(leftovers "$a"; leftovers "$b")" ''; }
none_in_flight() { [ "$(json "$watcher" length skein migration list)" = 0 ]; }
all_up() { [ "$(json "$watcher" '[.[] | select((.state == "up" or .state == "cordoned") and .present)] | length' skein node list)" = 3 ]; }
# The state says where, and there it runs
is_well() { all_up && none_in_flight && home=$(show .node) && home=${home#n} && runs_at "$home"; }
# It answers on a connection that is younger than the fault, and counts from the beginning
counts_anew() {
    count_log | awk -v known="$known" -v before="$before" 'NR > known && /connection=new/ { sub(/.* count=/, ""); if ($1 + 0 < before) is_anew = 1 }
        END { exit !is_anew }'
}
goes_on() { counts_on "$before" && ! counts_anew; }
events() {
    local k
    for k in 1 2 3; do on $k skein events -f json || true; done 2>/dev/null |
        jq -r --argjson since "$since" '(if type == "array" then .[] else . end) | select(.time_ms >= $since) | "\(.what) \(.guest // "") \(.text)"'
}
told() { events | has -E "$1"; }

# must NAME CMD...: as ok, and tells what there is when it is not so
must() {
    local failed=$failures
    ok "$@"
    [ "$failures" = "$failed" ] || {
        here skein node list
        here skein guest list
        here skein migration list
        events
        tail -n 5 "$work/move"
        look_processes $qemu
        leftovers "$a"
        leftovers "$b"
        for k in 1 2 3; do on $k grep "skein-guard" /var/log/skein-guard.log | tail -n 12; done
    } 2>&1 | sed 's/^/#   /'
}

# ---- the cases

begin_move() {
    local options=(--mode post)
    case $1 in
        copying) options=(--bandwidth 8mbit) ;;
        fetching) options+=(--bandwidth 100mbit) ;;
        *) options+=(--bandwidth 200mbit) ;;
    esac
    here skein guest migrate vm1 --to "n$b" "${options[@]}" --timeout 600s >"$work/move" 2>&1 &
    asker=$!
}
# struck STEP WHO DEED kept|anew EVENT
struck() {
    local name="$3 of the $2, $1" victim=$a began=$SECONDS
    case $3 in link | cancel) name="$3, $1" ;; esac
    [ "$2" != target ] || victim=$b
    held='' since=$(date +%s%3N) home=$a
    begin_move "$1"
    must "$name: the move is there" hold "$1"
    before=$(number last_count) known=$(count_log | wc -l)
    ok "$name" strike "$victim" "$3"
    case "$1 $2 $3" in
        'halted target '[qlm]*) wait_until 60 is_over_there && release ;; # it is the one who tells
        halted* | received*) ;;            # else the hand-over might be committed before anybody notices
        *) release ;;
    esac
    must "$name: events say so" wait_until 120 told "$5"
    release
    mend "$victim" "$3"
    case $4 in
        kept) must "$name: it goes on with its memory" wait_until 25 goes_on ;;    # not after the 30 s that libvirt waits for QEMU
        anew) must "$name: it was booted anew" wait_until 300 counts_anew ;;
    esac
    must "$name: it is well again" wait_until 120 is_well
    wait_until 240 is_well || bail 'it does not get well any more'
    wait "$asker" 2>/dev/null
    must "$name: nothing half-made stays" wait_until 120 is_clean
    echo "# $name: $((SECONDS - began)) s; $(tail -n 1 "$work/move")"
    b=$((a + b - home)) a=$home
}
# Nobody can take it back any more.
followed() {
    local name='cancel, fetching'
    held='' since=$(date +%s%3N) home=$a
    begin_move fetching
    must "$name: the move is there" hold fetching
    before=$(number last_count) known=$(count_log | wc -l)
    refused "$name" 1 handover strike "$a" cancel
    release
    ok "$name: the move is done" wait "$asker"
    must "$name: it is well" wait_until 300 is_well
    must "$name: it goes on with its memory" wait_until 120 goes_on
    must "$name: nothing half-made stays" wait_until 120 is_clean
    b=$((a + b - home)) a=$home
}
# case_of STEP WHO DEED: the same, and what becomes of the machine
case_of() {
    case "$*" in
        'copying source qemu' | 'copying source power' | 'halted source '*) struck "$@" anew '^migration-abort vm1' ;;
        copying* | halted* | received*) struck "$@" kept '^migration-abort vm1' ;;
        'committed target '[qlm]*) struck "$@" kept '^migration-return vm1 ' ;;
        'committed target power') struck "$@" anew '^migration-lost vm1' ;;
        *cancel) followed ;;
        'fetching target power') struck "$@" anew '^migration-lost vm1' ;;
        *) struck "$@" anew '^(migration-memory-lost|migration-step-failed|guest-exited) vm1' ;;
    esac
}
most_important() {
    case_of copying target qemu
    case_of copying source mover
    case_of copying move link
    case_of halted target libvirtd
    case_of halted move cancel
    case_of halted target power
    case_of received target qemu
    case_of received target mover
    case_of committed target qemu
    case_of copying source qemu
    case_of fetching target power
}
everything_everywhere() {
    local step who deed
    for step in copying halted fetching; do
        for who in source target; do
            for deed in qemu libvirtd mover power; do case_of $step $who $deed; done
        done
        case_of $step move link
        case_of $step move cancel
    done
    for deed in qemu libvirtd mover; do case_of received target $deed; done
    for deed in qemu libvirtd mover power; do case_of committed target $deed; done
}

# It writes to memory that no packer makes smaller: that is what follows it
begin_vm $'#!/bin/sh\nexec /bin/counter 7000 32 16'
here skein node cordon "n$watcher" >/dev/null
case ${MOVE_FAULTS:-} in
    '') most_important ;;
    all) everything_everywhere ;;
    *) while read -r -u 3 step who deed; do case_of $step $who $deed; done 3<<<"${MOVE_FAULTS//; /$'\n'}" ;;
esac
done_testing
