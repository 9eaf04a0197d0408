#!/bin/bash
# skeind is stopped: its guests run untouched for as long as the lease lasts, freeze at its end, and reach nobody from then on.
# After SIGCONT they go on, the same process or, where another node had them by then, that copy alone. A second skeind beside a
# stopped one does not start, and takes nothing from it.
# limit: 900
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"
freeze_ms=20 # F

now_ms() { echo $(($(date +%s%N) / 1000000)); }
is_up() { [ "$(json "$2" .state skein node show "$1")" = up ]; }
one_runs() { [ "$(look_processes counter | wc -l)" = 1 ] && [ "$(look_running counter | wc -l)" = 1 ]; }
runs_elsewhere() { look_running counter | has -v "^$1 "; }
is_frozen() { look_is_frozen "${same#* }"; }
# requests K GUEST: echo requests that the guest has received
requests() { on "$1" nsenter --net="/run/skein/netns/$2" -- awk '/^Icmp: [0-9]/ { print $10 }' /proc/net/snmp; }
heard_by() { [ "$(requests "$1" client)" -gt "$reached" ]; }

# Stops skeind and watches the guest: by how many ms it was frozen before F began, and seen to run past the end of the lease,
# which the kernel keeps. However slow a look is, it makes neither of them positive. A guard that this machine does not let run
# freezes nobody: so long it may be late.
stop_and_watch() {
    local before after left look seen=0 waited
    lab stop "$node" skeind
    before=$(now_ms)
    left=$(on "$k" deadline-tool left)
    after=$(now_ms)
    deadline=$((after + left + 1))
    while look=$(now_ms); ! is_frozen && [ "$look" -lt $((deadline + 10000)) ]; do seen=$look; done
    frozen=$(now_ms)
    early=$((before + left - freeze_ms - frozen))
    waited=$(waited_ms "$before")
    late=$((seen - deadline - waited))
    echo "# $left ms of the lease left; seen to run $((seen > 0 ? seen - before : 0)) ms, and frozen after $((frozen - before)) ms; this machine kept a process waiting for $waited ms"
}

watch_machine
ok 'a cluster of three' lab up -n 3 --join || bail 'no cluster'
build=$("$skein_root/deploy/build")
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'a guest that sends to another' on 1 skein guest run web --image web --slice red -- /bin/sh -c \
    '/bin/counter 7000 & while :; do ping -q -i 0.02 -W 1 10.7.0.3 >/dev/null; sleep 0.1; done'
same=$(the_copy counter)
node=${same% *}
k=${node#n}
other=$((k % 3 + 1))
ok 'the other, elsewhere' on 1 skein guest run client --image web --slice red --on "n$other" -- /bin/sleep 3600
on "$k" sh -c 'cat >/usr/bin/deadline-tool; chmod +x /usr/bin/deadline-tool' <"$(find "$build" -name deadline-tool -type f)"
reached=$(number requests "$other" client)
ok 'is heard' wait_until 60 heard_by "$other"

# What the switch between the nodes hears from this one in the guest's name
image=$("$skein_root/deploy/image")
nsenter --net="/run/netns/skein-lab-$LAB" chroot "$image" tcpdump -Z root -l -n --immediate-mode -tt -i any \
    "udp dst port 4789 and src 10.99.0.$k and udp[42:4] = 0x0a070002" >"$work/heard" 2>"$work/tcpdump" &
capture=$!
is_captured() { [ -s "$work/heard" ]; }
ok 'and seen on its way' wait_until 60 is_captured

# Long enough for the loss
pid=$(on "$k" cat /run/node/skeind.pid)
stop_and_watch
is 'while skeind is stopped the guest runs until the lease says so' "$((early > 0))" 0
is 'and not longer' "$((late > 0))" 0
refused 'a second skeind beside it' 1 'another skeind\|address.*in use\|in use' on "$k" skeind
is 'which changed nothing: the first is still there, stopped' "$(on "$k" sh -c "sed -n 's/^State:.//p' /proc/$pid/status" | cut -c1)" T
ok 'another node has the guest' wait_until 60 runs_elsewhere "$node"
is 'and the copy here stands still' "$(look_running counter | grep -c "^$node ")" 0
reached=$(number requests "$other" client)
ok 'the new copy is heard' wait_until 60 heard_by "$other"
last=$(awk '/VXLAN/ { t = $1 } END { sub(/[.]/, "", t); print int(t / 1000) }' "$work/heard")
ok "its last packet was in time ($((deadline - last)) ms before the lease's end)" test "$last" -le $((deadline + 2))
lab cont "$node"
healed() { is_up "$node" "$other" && one_runs; }
ok 'after SIGCONT one copy runs' wait_until 60 healed
fails 'it is the new one' equal "$(the_copy counter)" "$same"
kill $capture
wait $capture

# No longer than until it is seen frozen: thawed, or moved where that was too late; one copy in either case
same=$(the_copy counter)
node=${same% *}
k=${node#n}
other=$((k % 3 + 1))
on "$k" sh -c 'cat >/usr/bin/deadline-tool; chmod +x /usr/bin/deadline-tool' <"$(find "$build" -name deadline-tool -type f)"
stop_and_watch
lab cont "$node"
is 'stopped again it runs until the lease says so' "$((early > 0))" 0
is 'and not longer' "$((late > 0))" 0
ok 'after SIGCONT one copy runs' wait_until 60 healed
[ "$(the_copy counter)" = "$same" ] && echo '# the same process' || echo '# it had moved'
done_testing
