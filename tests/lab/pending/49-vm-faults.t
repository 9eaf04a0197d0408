#!/bin/bash
# QEMU is killed amid a virtual machine's live move: at the target, where the machine goes on at the source as if nothing had been;
# at the source, where it has ended and is booted again, once, from its disk; `events` says so, and nothing half-made stays.
# limit: 1500
. "$(dirname "$0")/../lib.sh"
. "$scenarios/vm.sh"

qemu_of() { look_processes $qemu | awk -v node="n$1" '$1 == node { print $2 }'; }
reconnected() { local log; log=$(count_log) && grep -c 'connection=new\|lost' <<<"$log"; }
# n_told WHAT: how many such events of the machine there are
n_told() { here skein events -f json | jq -r 'select(.guest == "vm1") | .what' | grep -cx "$1"; }
is_in() { [ -n "$(qemu_of "$1")" ]; }
none_in_flight() { [ "$(json "$watcher" length skein migration list)" = 0 ]; }
# What the move of a machine leaves on node K, where it does not run
leftovers() {
    on "$1" sh -c 'ls -d /run/skein/guests/vm1 /run/skein/netns/vm1 /var/lib/skein/guests/vm1; pgrep -a "qemu|libvirt|skein-vm"; true' 2>/dev/null
}
is_clean() { equal "$(leftovers "$1")" ''; }
# The copy is slowed down, so that it is under way
begin_move() {
    here skein guest migrate vm1 --to "n$b" --bandwidth 8mbit --timeout 600s >"$work/move" 2>&1 &
    mover=$!
}

begin_vm $'#!/bin/sh\nexec /bin/counter 7000'

begin_move
ok 'a move is under way' wait_until 120 copies_some
ok 'and QEMU waits at the target' wait_until 60 is_in "$b"
before=$(number last_count) known=$(number reconnected)
kill -KILL "$(qemu_of "$b")"
wait "$mover"
is 'QEMU of the target killed: the move is refused' "$?" 1
ok 'the machine counts on' wait_until 120 counts_on "$((before + 1))"
becomes 'over the same connection' "$known" reconnected
ok 'once, at the source' wait_until 120 runs_at "$a"
becomes 'events say so' 1 n_told migration-abort
ok 'no move is left' wait_until 60 none_in_flight
ok 'nothing of it stays at the target' wait_until 60 is_clean "$b"

begin_move
ok 'another one' wait_until 120 copies_some
kill -KILL "$(qemu_of "$a")"
wait "$mover"
is 'QEMU of the source killed: the move is refused' "$?" 1
ok 'the machine boots again from its disk' wait_until 300 says 'vm1: up after .* boot 2 of its disk'
ok 'once, where it was' wait_until 120 runs_at "$a"
becomes 'events say that the move is undone' 2 n_told migration-abort
said_end() { on "$a" skein events -f json | jq -r 'select(.guest == "vm1") | .what' | has -x guest-exited; }
ok 'and that it had ended' wait_until 60 said_end
ok 'no move is left' wait_until 60 none_in_flight
ok 'nothing of it stays at the target' wait_until 60 is_clean "$b"
done_testing
