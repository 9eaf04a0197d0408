#!/bin/bash
# A node whose guard and skeind are both stopped freezes nobody: the old copy of a guest runs on, and nothing that it sends
# reaches anyone, because the kernel drops it at the lease's end. After SIGCONT everything heals.
# limit: 900
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

runs_on() { look_running "$1" | awk '{ print $1 }' | tr '\n' ' '; }
runs_besides() { [[ " $(runs_on counter)" == *" $1 "* && " $(runs_on counter)" =~ " "(n[1-3])" ".*n[1-3] ]]; }
here() { look_running counter | grep "^$node "; }
filters() { on "$k" sh -c 'cd /sys/fs/bpf/skein && ls -d port-* uplink-*' | tr '\n' ' '; }
has_left() { left=$(on "$k" deadline-tool left); [ "$left" -gt 0 ] && [ "$left" -le 3000 ]; }
is_up() { [ "$(json "$2" .state skein node show "$1")" = up ]; }
# requests K GUEST: echo requests that the guest has received
requests() { on "$1" nsenter --net="/run/skein/netns/$2" -- awk '/^Icmp: [0-9]/ { print $10 }' /proc/net/snmp; }
sender() { echo "while :; do ping -q -i 0.02 -W 1 $1 >/dev/null; sleep 0.1; done"; }

ok 'a cluster of three' lab up -n 3 --join || bail 'no cluster'
build=$("$skein_root/deploy/build")
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
# 10.7.0.2 sends to 10.7.0.3 on another node and to 10.7.0.4 on its own, which sends to 10.7.0.3 too
ok 'a guest' on 1 skein guest run web --image web --slice red -- /bin/sh -c \
    "/bin/counter 7000 & ($(sender 10.7.0.3)) & $(sender 10.7.0.4)"
old=$(the_copy counter)
node=${old% *}
k=${node#n}
other=$((k % 3 + 1))
ok 'a client on another node' on 1 skein guest run client --image web --slice red --on "n$other" -- /bin/sleep 3600
ok 'a guest that stays, beside it' on 1 skein guest run stays --image web --slice red --on "$node" --failover stay -- \
    /bin/sh -c "$(sender 10.7.0.3)"
on "$k" sh -c 'cat >/usr/bin/deadline-tool; chmod +x /usr/bin/deadline-tool' \
    <"$(find "$build" -name deadline-tool -type f)"
becomes 'the guard has put its filters up' 'port-g2000 uplink-eth0 ' filters
ok 'and moves the deadline' wait_until 60 has_left

# What the switch between the nodes hears from the node in 10.7.0.2's name
image=$("$skein_root/deploy/image")
nsenter --net="/run/netns/skein-lab-$LAB" chroot "$image" tcpdump -Z root -l -n --immediate-mode -tt -i any \
    "udp dst port 4789 and src 10.99.0.$k and udp[42:4] = 0x0a070002" >"$work/heard" 2>"$work/tcpdump" &
capture=$!
heard() { [ -s "$work/heard" ]; }
ok 'the guest is heard' wait_until 60 heard
reached=$(number requests "$k" stays)
more() { [ "$(requests "$k" stays)" -gt "$reached" ]; }
ok 'on its own node too' wait_until 60 more

# The guard first: it freezes nobody however long the second stop takes.
the_copy counter >/dev/null
lab stop "$node" skein-guard
lab stop "$node" skeind
left=$(on "$k" deadline-tool left)
deadline=$(($(date +%s%N) / 1000 + left * 1000)) # in us, and a little late
is 'both are stopped, and the guest runs' "$(here)" "$old"
ok 'the guest is started elsewhere, beside the old copy' wait_until 60 runs_besides "$node"
reached=$(number requests "$k" stays) from_stays=$(number requests "$other" client)
client_hears() { [ "$(requests "$other" client)" -ge $((from_stays + 20)) ]; }
ok 'the client hears the new copy, and the guest that stays' wait_until 60 client_hears
is 'the old copy still runs' "$(here)" "$old"
is 'and nobody on its node hears it' "$(requests "$k" stays)" "$reached"
ok 'the node itself is there' wait_until 60 on "$other" ping -c 1 -W 1 "10.90.0.$k"

lab cont "$node"
healed() { is_up "$node" "$other" && [ "$(look_processes counter | wc -l)" = 1 ]; }
ok 'after SIGCONT the node is up, and the old copy gone' wait_until 60 healed
kill $capture
wait $capture
last=$(awk '/VXLAN/ { t = $1 } END { sub(/[.]/, "", t); print t }' "$work/heard")
ok "the last packet of the old copy was in time ($((deadline - last)) us before the deadline)" \
    test "$last" -le $((deadline + 2000))
ok 'a new guest there' on "$other" skein guest run next --image web --slice red --on "$node" -- /bin/sleep 3600
reach() { on "$other" skein guest exec next -- /bin/ping -c 1 -W 1 10.7.0.3; }
ok 'reaches the client' wait_until 60 reach
ok 'and the guest that stayed goes on' wait_until 60 on "$other" skein guest exec stays -- /bin/ping -c 1 -W 1 10.7.0.3
done_testing
