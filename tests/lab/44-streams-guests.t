#!/bin/bash
# The streams of guests give way to the control class as those of images do (44-streams.t), where only their delay tells of it:
# checkpoints of a protected cell, and the memory of a virtual machine that moves, each as fast as TCP goes, and then held back.
# limit: 400
. "$(dirname "$0")/lib.sh"
. "$scenarios/paced.sh"

link_kbps=30000
show() { json 3 "$2" skein guest show "$1"; }
node_of() { show "$1" .node | tr -d n; }
uplink() { json "$1" ".uplink.$2" skein node show "n$1"; }
# Most of the link is taken, by what node K sends
is_full() { [ "$(uplink "$1" out.kbps)" -gt $((link_kbps / 2)) ]; }
says() { on 3 skein guest logs vm1 | has "$1"; }

# listen NAME FROM TO: the control class between two nodes and back, for 2 s, while one sends to the other: rtt_ms
listen() {
    ok "$1 is on its way" wait_until 60 is_full "$2"
    on "$2" ping -Q 0xc0 -i 0.02 -w 2 "10.90.0.$3" >"$work/ping"
    n_streams=$(uplink "$2" streams.n)
    heard "$1"
}
has_buddy() { [[ $(show kept .protection.buddy) == n? ]]; }
checkpoint() {
    on 3 skein guest set kept --protect 500ms >/dev/null
    wait_until 60 has_buddy
    listen "$1" "$(node_of kept)" "$(show kept .protection.buddy | tr -d n)"
    on 3 skein guest set kept --protect off >/dev/null
}
move() {
    local from to mover
    from=$(node_of vm1) to=$((3 - $(node_of vm1)))
    on 3 skein guest migrate vm1 --to n$to --timeout 200s >"$work/move" 2>&1 &
    mover=$!
    listen "$1" "$from" $to
    on 3 sh -c 'skein migration cancel $(skein migration list -f json | jq -r ".[].id")' >/dev/null
    fails "$1 is called off" wait $mover
}
# What a busy machine adds is no wait in a queue: another try. KIND PLAIN_MS
gives_way() {
    local try
    for try in 1 2 3; do
        "$1" "a $1, held back ($try)"
        ! fits 40 "$2" || break
    done
    ok "a $1 is counted among the streams that may be held back" test "$n_streams" -gt 0
    judge 40 "$2" "a $1"
}

ok 'a cluster of three' lab up -n 3 --backhaul ${link_kbps}kbit --queue fifo --conf backhaul=300mbit --conf stream_delay_ms=0 \
    --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" --vm "$work/vm.tar"
"$skein_root/deploy/make-image" "$work/web.tar"
for file in vm.tar web.tar; do on 1 sh -c "cat >/tmp/$file" <"$work/$file"; done
on 3 sh -c 'printf "#!/bin/sh\nexec /bin/counter 7000 32\n" >/tmp/user-data'
ok 'an image with a kernel' on 1 skein image add vm /tmp/vm.tar
ok 'an image of cells' on 1 skein image add web /tmp/web.tar
on 1 skein node cordon n3 >/dev/null
ok 'a machine' on 3 skein guest run vm1 --kind vm --image vm --cores 1 --memory 128m --user-data /tmp/user-data --timeout 240s
ok 'a cell' on 3 skein guest run kept --image web --memory 64m --failover restore -- /bin/counter 7000 24
on 1 skein node uncordon n3 >/dev/null

checkpoint 'a checkpoint, plain'
plain_checkpoint_ms=$rtt_ms
ok 'the machine is up' wait_until 240 says 'up after'
move 'a move, plain'
plain_move_ms=$rtt_ms
is 'streams that nothing holds back are not counted' "$n_streams" 0

hold_back
lost_before=$(lost)
gives_way checkpoint "$plain_checkpoint_ms"
gives_way move "$plain_move_ms"
is 'no node was lost' "$(lost)" "$lost_before"
done_testing
