#!/bin/bash
# Failover and return, seen from outside: deaths, daemons killed, cuts, stops. A witness counts every copy of the guest.
# limit: 900
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

runs_on() { look_running "$1" | awk '{ print $1 }' | tr '\n' ' '; }
runs_somewhere_else() { local now; now=$(runs_on counter); [ -n "$now" ] && [ "$now" != "$1 " ]; }
runs() { node=$(the_copy counter) && node=${node% *}; }
node_state() { json "${2:-1}" .state skein node show "$1"; }
is_up() { [ "$(node_state "$1" "${2:-1}")" = up ]; }
is_lost() { [ "$(node_state "$1" "${2:-1}")" = lost ]; }
lost_nodes() { json "${1:-1}" '[.[] | select(.state == "lost") | .name] | join(" ")' skein node list; }
leader() { json "${1:-1}" '.[] | select(.leader) | .name' skein node list; }
service_pid() { on "$1" cat "/run/node/$2.pid"; }
epoch() { json "${1:-1}" .epoch skein guest show web; }
newer_epoch() { [ "$(epoch "$client")" -gt "$old_epoch" ]; }
is_new() { local now; now=$(service_pid "$1" "$2") && [ -n "$now" ] && [ "$now" != "$pid" ]; }
other_than() { for k in n1 n2 n3; do case " $* " in *" $k "*) ;; *) echo "${k#n}"; return ;; esac; done; }

watch_machine
ok 'a cluster of three' lab up -n 3 --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'a guest' on 1 skein guest run web --image web --slice red --cores 1 -- /bin/counter 7000

# skeind is killed on each node in turn: nothing freezes, moves or is lost
before=$(the_copy counter)
for k in 1 2 3; do
    pid=$(service_pid $k skeind)
    on $k kill -9 "$pid"
    ok "skeind on n$k comes back after kill -9" wait_until 60 is_new $k skeind
    ok "and answers" wait_until 60 on $k skein node list
done
same_again() { [ "$(look_running counter)" = "$before" ]; }
steady 'the guest is the same process' wait_until 10 same_again
steady 'no node was lost' equal "$(lost_nodes)" ''

# skein-guard is killed: its guests are adopted
for k in 1 2 3; do
    pid=$(service_pid $k skein-guard)
    on $k kill -9 "$pid"
    ok "skein-guard on n$k comes back after kill -9" wait_until 60 is_new $k skein-guard
done
steady 'the guest is adopted, at most paused' wait_until 10 same_again
steady 'still no node was lost' equal "$(lost_nodes)" ''

# The switch daemon is killed: rules come back by themselves
ok 'the guest runs' runs
client=$(other_than "$node")
ok 'a client on another node' on 1 skein guest run client --image web --slice red --on "n$client" -- /bin/sleep 3600
reach() { on 1 skein guest exec client -- /bin/ping -c 1 -W 1 10.7.0.2; }
ok 'reaches the guest' wait_until 60 reach
on "$client" sh -c 'kill -9 "$(cat /run/node/ovs-vswitchd.pid)"'
ok 'and again after the death of its switch' wait_until 60 reach
on "${node#n}" sh -c 'kill -9 "$(cat /run/node/ovs-vswitchd.pid)"'
ok 'and of the other' wait_until 60 reach

# Power off, not the leader's (where it can be had)
dead=$node
old_epoch=$(number epoch "$client")
start=$(date +%s%N)
lab kill "$dead"
ok 'after a power-off the guest runs elsewhere' wait_until 60 runs_somewhere_else "$dead"
echo "# power-off to the new process: $((($(date +%s%N) - start) / 1000000)) ms (leader was $(leader "$client"))"
ok 'exactly one' the_copy counter
ok 'under a new epoch' wait_until 60 newer_epoch
steady 'only the dead node is lost' equal "$(lost_nodes "$client")" "$dead"
lab start "$dead"
ok 'it returns' wait_until 60 is_up "$dead" "$client"
ok 'exactly one copy after the return' the_copy counter
ok 'the client reaches the guest' wait_until 60 reach

# A cut and a heal: the cut side freezes, the other starts it; then the old copy goes
ok 'one copy runs' runs
watcher=$(other_than "$node")
old=$(the_copy counter)
lab cut "$node"
ok 'after a cut the guest runs elsewhere' wait_until 60 runs_somewhere_else "$node"
ok 'exactly one runs unfrozen' the_copy counter
lab heal "$node"
ok 'the cut node is healthy again' wait_until 60 is_up "$node" "$watcher"
ok 'its old copy is destroyed' wait_until 60 look_has_ended "${old#* }"
ok 'exactly one runs' runs

# A short cut costs a pause, never a kill
lab cut "$node"
frozen() { [ -z "$(look_running counter)" ]; }
wait_until 10 frozen
lab heal "$node"
ok 'after a short cut one copy runs' runs

# Stops
lab stop "$node" skeind
ok 'skeind stopped: the guest runs elsewhere' wait_until 60 runs_somewhere_else "$node"
ok 'exactly one runs unfrozen' the_copy counter
lab cont "$node"
ok 'it returns' wait_until 60 is_up "$node" "$(other_than "$node")"
ok 'exactly one runs' runs
same=$(the_copy counter)
lab stop "n$(other_than "$node")" skein-guard
lab cont "n$(other_than "$node")" skein-guard
steady 'a guard that was stopped for a moment changes nothing' equal "$(the_copy counter)" "$same"
done_testing
