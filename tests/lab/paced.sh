# paced.sh: what the scenarios of streams that give way (44-streams*.t) share, on a lab that is up with stream_delay_ms=0; sourced
# after lib.sh.

lost() { on 3 skein events | grep -c ' node-lost '; }
is_up() { [ "$(json 1 '[.[] | select(.state == "up" and .present)] | length' skein node list)" = 3 ]; }

# heard WHAT: of the pings in $work/ping, which are of the control class: rtt_ms, and a line that tells more
heard() {
    rtt_ms=$(sed -n 's/.* time=\([0-9]*\).*/\1/p' "$work/ping" | sort -n | awk '{ rtt[NR] = $1 } END { print rtt[int(NR * 0.95)] }')
    echo "# $1: control class p95 $rtt_ms ms, $(grep -o '[0-9.]*% packet loss' "$work/ping"), $(grep ^rtt "$work/ping")"
}

# From here on streams are held back by delay, as they are where nobody says otherwise
restarted() { [ "$(on "$1" cat /run/node/skeind.pid)" != "$2" ] && on "$1" skein status; }
hold_back() {
    local k old
    for k in 1 2 3; do
        old=$(on $k cat /run/node/skeind.pid)
        on $k sh -c "sed -i s/stream_delay_ms.*// /etc/skein/skein.conf && kill -TERM $old"
        wait_until 60 restarted $k "$old"
    done
    ok 'all started again, to hold streams back' wait_until 60 is_up
}

# fits MS PLAIN_MS: no packet waits longer, but for one in twenty; and less than without, where that filled the queue
fits() { [ "${rtt_ms:-999}" -le "$1" ] && { [ "${2:-0}" -le 30 ] || [ "$rtt_ms" -lt "$2" ]; }; }
# judge MS PLAIN_MS WHAT: as fits, as points
judge() {
    ok "19 of 20 packets of the control class wait at most $1 ms beside $3 ($rtt_ms; $2 without)" test "${rtt_ms:-999}" -le "$1"
    if [ "${2:-0}" -gt 30 ]; then
        ok 'and less than without' test "${rtt_ms:-999}" -lt "$2"
    else
        skip 'and less than without' "the queue was not filled: $2 ms without"
    fi
}
