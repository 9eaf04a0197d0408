#!/bin/bash
# Bulk streams give way to the control class where only their delay tells of it: behind one plain queue, on uplinks that are
# slower than they are said to be, so that the node's own classes do nothing. The same copies twice: streams as fast as TCP
# goes, then held back by delay.
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$scenarios/paced.sh"

size_mib=20
add() { on "$1" skein image add "$2" "/tmp/$2.tar"; }
copies() { json 1 "[.[] | select(.name | endswith(\"-$1\")) | .holders | length] | add" skein image list; }
all_have() { [ "$(copies "$1")" = 6 ]; }
streams() { json 1 ".uplink.streams.$1" skein node show n1; }
are_counted() { [ "$(streams n)" -gt 0 ]; }

# Both sources send.
is_on_its_way() { on 3 sh -c '[ "$(ls /var/lib/skein/images/part-* | wc -l)" = 2 ]'; }

# make K NAME: an archive on node K, like no other
make() {
    head -c ${size_mib}M /dev/urandom >"$work/tree/noise"
    tar -C "$work/tree" -c . | on "$1" sh -c "cat >/tmp/$2.tar"
}
# copy NAME: an image from n1 and one from n2 at once, each to the two others; the control class from n2 to n1 and back
# meanwhile.
copy() {
    make 1 "a-$1"
    make 2 "b-$1"
    local began adds=''
    add 1 "a-$1" >/dev/null & adds+=" $!"
    add 2 "b-$1" >/dev/null & adds+=" $!"
    ok "$1: both images are on their way" wait_until 60 is_on_its_way
    began=$(date +%s%3N)
    on 2 ping -Q 0xc0 -i 0.02 -w 3 10.90.0.1 >"$work/ping" &
    local ping=$!
    [ "$1" = plain ] || ok 'node show counts the streams that it may hold back' wait_until 60 are_counted
    wait $ping $adds
    ok "$1: every node has both images" wait_until 120 all_have "$1"
    ms=$(($(date +%s%3N) - began))
    heard "$1, copies took $ms ms more"
}

ok 'a cluster of three' lab up -n 3 --backhaul 60mbit --queue fifo --conf backhaul=1gbit --conf stream_delay_ms=0 --join ||
    bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
mkdir "$work/tree" && tar -xf "$work/web.tar" -C "$work/tree"

copy plain
plain_ms=$ms plain_rtt_ms=$rtt_ms
is 'streams that nothing holds back are not counted' "$(streams n)" 0

hold_back
# What a busy machine adds is no wait in a queue, and a node that it halts is not lost by a stream: another try.
is_paced() {
    fits 60 "$plain_rtt_ms" && [ "$ms" -le $((plain_ms * 3 + 2000)) ] && [ "$(lost)" = "$lost_before" ]
}
for try in 1 2 3; do
    lost_before=$(lost)
    copy paced$try
    ! is_paced || break
done
judge 60 "$plain_rtt_ms" 'the images'
# A third of the links is theirs whatever they see: a hundredth of what the uplinks are said to have, for each stream.
ok "for copies that take hardly longer ($ms ms; $plain_ms)" test "$ms" -le $((plain_ms * 3 + 2000))
is 'no node was lost' "$(lost)" "$lost_before"
done_testing
