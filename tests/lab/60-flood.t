#!/bin/bash
# Every uplink flooded at twice its rate, behind a far end that honours DSCP and behind one plain queue: nobody is lost, no
# guest moves, and a power-off under the flood is still a failover. FLOOD_SECONDS makes the flood longer (120; tests/bench/flood:
# 1200), FLOOD_MBIT says what a link carries (100).
# limit: 3600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"
seconds=${FLOOD_SECONDS:-120} mbit=${FLOOD_MBIT:-100}
rescue_s=25    # the flood goes on so long after the power-off

client_log() { cat "/proc/$client/root/count.log"; }
client_says() { client_log | has "$1"; }
served_ms() { client_log | sed -n 's/.* served_again ms=\([0-9]*\).*/\1/p' | tail -n 1; }
where() { look_processes counter | awk '{ print $1 }'; }
lost() { json 1 '[.[] | select(.state == "lost") | .name] | join(" ")' skein node list; }
loads() { cut -d' ' -f1-3 /proc/loadavg; }
received() { on "$1" cat /sys/class/net/eth0/statistics/rx_bytes; }
is_flooded() {
    local k a
    for k in 1 2 3; do
        a=$(received "$k")
        sleep 0.2
        [ $(($(received "$k") - a)) -gt $((mbit * 10000)) ] || return 1
    done
}

# Looks until the time is up; prints how often a guest was seen, how often frozen, and how often not as it was.
watch_guests() {
    local end=$(($(date +%s) + seconds)) seen=0 frozen=0 wrong=0 pid
    while [ "$(date +%s)" -lt "$end" ]; do
        for pid in "$server" "$client"; do
            seen=$((seen + 1))
            if [ ! -e "/proc/$pid/ns" ]; then wrong=$((wrong + 1)); elif look_is_frozen "$pid"; then frozen=$((frozen + 1)); fi
        done
        [ "$(look_processes counter)" = "$node $server" ] || wrong=$((wrong + 1))
        sleep 0.1
    done
    echo "$seen $frozen $wrong"
}

flood_with() {
    local queue=$1 limit_ms=$2 k floods='' ping seen frozen wrong ms
    ok "$queue: a cluster of three" lab up -n 3 --backhaul "${mbit}mbit" --queue "$queue" --join || bail 'no cluster'
    on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
    ok "$queue: an image" on 1 skein image add web /tmp/web.tar
    ok "$queue: a slice" on 1 skein slice create red --subnet 10.7.0.0/24
    # The client takes all of n1's cores, so that the guest is always on another node.
    ok "$queue: a client's place" on 1 skein guest run client --image web --slice red --on n1 --cores 3 -- \
        /bin/count 10.7.0.3 7000 /count.log
    ok "$queue: a guest" on 1 skein guest run web --image web --slice red --cores 1 -- /bin/counter 7000
    client_runs() { client=$(look_processes count | awk '{ print $2 }'); [ -n "$client" ]; }
    ok "$queue: the client runs" wait_until 60 client_runs
    ok "$queue: the client is answered" wait_until 60 client_says ' connected '
    read -r node server <<<"$(the_copy counter)"

    for k in 1 2 3; do
        "$skein_root/deploy/lab" flood "n$k" "$((2 * mbit))mbit" $((seconds + rescue_s)) >"$work/flood.$k" 2>&1 &
        floods+=" $!"
    done
    ok "$queue: the flood runs" wait_until 60 is_flooded
    on 1 ping -q -Q 0xc0 -c 100 -i 0.05 -W 1 "10.90.0.${node#n}" >"$work/ping" &
    ping=$!
    count_waits
    read -r seen frozen wrong <<<"$(watch_guests)"
    wait $ping
    echo "# $queue: control class: $(grep -h -o '[0-9]*% packet loss' "$work/ping"), $(grep rtt "$work/ping"); load $(loads), busy for $(busy_percent) %"
    echo "# $queue: $seen looks at guests in $seconds s, $frozen saw a pause"
    steady "$queue: no guest moved or ended" equal "$wrong" 0
    steady "$queue: no node is lost" equal "$(lost)" ''
    steady "$queue: none was" equal "$(on 1 skein events | grep -c ' node-lost ')" 0
    steady "$queue: guests ran nearly all the time" test $((frozen * 5)) -le "$seen"

    lab kill "$node"
    steady "$queue: a power-off under the flood: served again" wait_until 120 client_says ' served_again '
    ms=$(served_ms)
    echo "# $queue: served again after $ms ms, by the client's clock; load $(loads)"
    steady "$queue: in time ($ms ms, at most $limit_ms)" test "${ms:-99999}" -le "$limit_ms"
    ok "$queue: one copy runs" the_copy counter
    steady "$queue: only the dead node is lost" equal "$(lost)" "$node"
    kill $floods 2>/dev/null
    wait $floods 2>/dev/null
    lab down
}

"$skein_root/deploy/make-image" "$work/web.tar"
watch_machine
flood_with dscp 2000
flood_with fifo 4000
done_testing
