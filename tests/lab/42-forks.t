#!/bin/bash
# A guest whose processes start others all the time goes by post-copy, to and fro: each of them finds its memory, and the guest knows
# its neighbours where it comes, though it has said nothing to them since.
# limit: 300
. "$(dirname "$0")/lib.sh"

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join --backhaul 1000mbit || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'a neighbour' on 1 skein guest run peer --image web --slice red --on n3 --memory 16m -- /bin/counter 7000
ok 'a guest that starts processes all the time' \
    on 1 skein guest run busy --image web --slice red --memory 128m -- /bin/sh -c '/bin/counter 7001 24 0 & while :; do sleep 0.05; echo tick; done'
peer=$(json 1 .ip skein guest show peer)
ok 'it finds its neighbour' wait_until 60 on 1 skein guest exec busy -- /bin/ping -c 1 -W 1 "$peer"
move() { on 1 skein guest migrate busy --to "$1" --mode post --timeout 60s; }
at() { json 1 .node skein guest show busy; }
n_ticks() { on 1 skein guest logs busy | grep -c tick; }
ticks_on() { [ "$(n_ticks)" -gt "$1" ]; }
for k in 1 2 3; do
    ok "it goes by post-copy, $k" move "$([ "$(at)" = n1 ] && echo n2 || echo n1)"
    ok 'and starts others there' wait_until 60 ticks_on "$(n_ticks)"
    ok 'and knows its neighbour' on 1 skein guest exec busy -- /bin/grep "^$peer .* 0x2 " /proc/net/arp
done
becomes 'it runs' running json 1 .state skein guest show busy
done_testing
