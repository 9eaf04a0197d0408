#!/bin/bash
# QEMU is killed amid a virtual machine's live move: at the target, where the machine goes on at the source as if nothing had been;
# at the source, where it has ended and is booted again, once, from its disk; `events` says so, and nothing half-made stays.
# limit: 1500
. "$(dirname "$0")/../lib.sh"
. "$skein_root/deploy/look.sh"

qemu=qemu-system-x86    # as the kernel cuts its name
watcher=1
here() { on "$watcher" "$@"; }
show() { json "$watcher" "$1" skein guest show vm1; }
runs_at() { [ "$(look_running $qemu | awk '{ print $1 }' | tr '\n' ' ')$(look_processes $qemu | wc -l)" = "n$1 1" ]; }
qemu_of() { look_processes $qemu | awk -v node="n$1" '$1 == node { print $2 }'; }
other_than() { for k in 1 2 3; do case " $* " in *" n$k "*) ;; *) echo "$k"; return ;; esac; done; }
says() { here skein guest logs vm1 | has "$1"; }
count_log() { here skein guest exec client -- cat /count.log; }
last_count() { count_log | awk '/ count [0-9]/ { n = $NF } END { print n + 0 }'; }
counts_on() { [ "$(last_count)" -gt "$1" ]; }
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
copies_some() {
    json "$watcher" '.[0].progress | .round >= 1 and .done_bytes > 0 and .total_bytes > .done_bytes' skein migration list | has -x true
}
# The copy is slowed down, so that it is under way
begin_move() {
    here skein guest migrate vm1 --to "n$b" --bandwidth 8mbit --timeout 600s >"$work/move" 2>&1 &
    mover=$!
}

ok 'a cluster of three' lab up -n 3 --backhaul 1gbit --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" --vm "$work/vm.tar"
"$skein_root/deploy/make-image" "$work/web.tar"
for file in vm.tar web.tar; do on 1 sh -c "cat >/tmp/$file" <"$work/$file"; done
on 1 sh -c 'printf "#!/bin/sh\nexec /bin/counter 7000\n" >/tmp/user-data'
ok 'an image with a kernel' on 1 skein image add vm /tmp/vm.tar
ok 'an image of cells' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'a machine that counts in its memory' on 1 skein guest run vm1 --kind vm --image vm --slice red --cores 1 --memory 192m \
    --user-data /tmp/user-data --timeout 300s
placed() { a=$(show .node); a=${a#n}; [[ $a == [1-3] ]]; }
ok 'on a node' wait_until 60 placed
b=$(other_than "n$a"); watcher=$(other_than "n$a n$b")
ok 'a client on a third node' here skein guest run client --image web --slice red --on "n$watcher" -- /bin/count 10.7.0.2 7000 /count.log
ok 'it boots' wait_until 300 says 'vm1: up after .* boot 1 of its disk'
ok 'and counts' wait_until 300 counts_on 0

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
