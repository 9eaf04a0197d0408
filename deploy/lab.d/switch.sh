# The lab's switch (sourced by deploy/lab): a bridge in a network namespace of its own. Port nK leads to node K. Each port is
# shaped to the backhaul rate both ways: what goes to the node on the port itself, what comes from it on an IFB device
# behind the port's ingress. --queue dscp: CS6 first, AF21 (slices) next, unmarked after it, CS1 (bulk) last; fifo: one queue.
# A direction is cut by redirecting its packets to a device that is never up; what comes from one node alone is told by its
# two addresses (control plane and underlay).

switch_queue_ms=50      # length of a full queue

sw_ip() { ip -n "$lab_name" "$@"; }
sw_tc() { tc -n "$lab_name" "$@"; }

# 100mbit -> 100000
switch_rate_kbit() {
    [[ $1 =~ ^([1-9][0-9]{0,6})(kbit|mbit|gbit)$ ]] || return 1
    case ${BASH_REMATCH[2]} in
        kbit) echo "${BASH_REMATCH[1]}" ;;
        mbit) echo $((BASH_REMATCH[1] * 1000)) ;;
        gbit) echo $((BASH_REMATCH[1] * 1000000)) ;;
    esac
}

switch_make() {
    ip netns add "$lab_name"
    ip netns exec "$lab_name" sh -c '
        for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e "$f" ] || echo 0 >"$f"; done
        echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6' 2>/dev/null || true
    sw_ip -batch - <<B
link set lo up
link add hole type ifb
link add br-sw mtu 1600 address 02:00:00:90:00:fe type bridge mcast_snooping 0
addr add $lab_sink/24 dev br-sw
link set br-sw up
B
}

switch_destroy() {
    [ ! -e "/run/netns/$lab_name" ] || ip netns del "$lab_name"
}

# switch_plug K PID: a cable from port nK to eth0 in the network namespace of PID.
switch_plug() {
    local mac
    mac=$(printf '02:00:00:91:00:%02x' "$1")
    sw_ip -batch - <<B
link add n$1 mtu 1600 type veth peer name eth0 mtu 1600 address $mac netns $2
link add ifb$1 type ifb
link set ifb$1 up
B
    switch_shape "n$1"
    switch_shape "ifb$1"
    sw_tc -batch - <<B
qdisc add dev n$1 clsact
filter add dev n$1 ingress prio 2 protocol all u32 match u32 0 0 action mirred egress redirect dev ifb$1
B
    sw_ip link set "n$1" master br-sw up
    switch_apply_cut "$1"
}

# Power off pulls the plug first: a namespace may live on for a while, but nobody hears it.
switch_unplug() {
    sw_ip link del "n$1" 2>/dev/null || true
    sw_ip link del "ifb$1" 2>/dev/null || true
}

# A burst is 0.1 ms, or 16 kB: a fast link that had to wait for a timer each 16 kB would be a slow one.
switch_shape() {
    local rate limit burst
    rate=$(switch_rate_kbit "$conf_backhaul")
    burst=$((rate / 80))
    [ "$burst" -ge 16384 ] || burst=16384
    limit=$((rate * switch_queue_ms / 8))
    [ "$limit" -ge 16000 ] || limit=16000
    if [ "$conf_queue" = fifo ]; then
        sw_tc qdisc add dev "$1" root tbf rate "${rate}kbit" burst "$burst" limit "$limit"
        return
    fi
    {
        echo "qdisc add dev $1 root handle 1: htb default 30"
        echo "class add dev $1 parent 1: classid 1:1 htb rate ${rate}kbit ceil ${rate}kbit quantum 3000 burst $burst cburst $burst"
        switch_class "$1" 10 0 60 "$rate" "$limit" $((burst / 2))    # control (CS6) and ARP
        switch_class "$1" 20 1 25 "$rate" "$limit" $((burst / 2))    # slices (AF21)
        switch_class "$1" 30 2 10 "$rate" "$limit" $((burst / 2))    # everything else
        switch_class "$1" 40 3 5 "$rate" "$limit" $((burst / 2))     # bulk (CS1)
        switch_mark "$1" 0xc0 10
        switch_mark "$1" 0x48 20
        switch_mark "$1" 0x20 40
        echo "filter add dev $1 parent 1: prio 2 protocol arp u32 match u32 0 0 flowid 1:10"
    } | sw_tc -batch -
}

# switch_class DEV CLASS PRIORITY PERCENT RATE LIMIT BURST: PERCENT is its own, the rest is lent by priority.
switch_class() {
    echo "class add dev $1 parent 1:1 classid 1:$2 htb prio $3 rate $(($5 * $4 / 100))kbit ceil ${5}kbit quantum 3000 burst $7 cburst $7"
    echo "qdisc add dev $1 parent 1:$2 bfifo limit $6"
}

switch_mark() {
    echo "filter add dev $1 parent 1: prio 1 protocol ip u32 match ip dsfield $2 0xfc flowid 1:$3"
}

# switch_cut K in|out|from-nM...: added to what is cut already; it outlives a power cycle of the node.
switch_cut() {
    local k=$1 direction
    shift
    for direction in "$@"; do touch "$lab_state/n$k.cut-$direction"; done
    switch_apply_cut "$k"
}

switch_heal() {
    rm -f "$lab_state/n$1.cut-"*
    switch_apply_cut "$1"
}

switch_cut_of() {
    case $(cd "$lab_state" && ls "n$1.cut-in" "n$1.cut-out" 2>/dev/null | tr -d '\n') in
        *in*out*) echo both ;;
        *in) echo in ;;
        *out) echo out ;;
        *) switch_cut_from "$1" | sed 's/^/from-n/' | paste -sd , | grep . || echo - ;;
    esac
}

# The numbers of the nodes that node K alone does not hear.
switch_cut_from() {
    local file
    for file in "$lab_state/n$1.cut-from-n"*; do
        [ ! -e "$file" ] || echo "${file##*-n}"
    done
}

switch_apply_cut() {
    local from
    sw_ip link show "n$1" >/dev/null 2>&1 || return 0
    switch_apply_direction "$1" in egress
    switch_apply_direction "$1" out ingress
    sw_tc filter del dev "n$1" egress prio 3 2>/dev/null || true
    sw_tc filter del dev "n$1" egress prio 4 2>/dev/null || true
    for from in $(switch_cut_from "$1"); do
        {
            switch_drop "$1" 3 ip 12 "$lab_subnet.$from"
            switch_drop "$1" 3 ip 12 "$lab_underlay.$from"
            switch_drop "$1" 4 arp 14 "$lab_subnet.$from"
            switch_drop "$1" 4 arp 14 "$lab_underlay.$from"
        } | sw_tc -batch -
    done
}

# switch_drop K PRIO PROTOCOL OFFSET ADDRESS: OFFSET is where the protocol has the sender's address. In halves, as that of ARP
# is at no multiple of four.
switch_drop() {
    local high low
    high=$(printf '0x%02x%02x' $(cut -d. -f1,2 --output-delimiter=' ' <<<"$5"))
    low=$(printf '0x%02x%02x' $(cut -d. -f3,4 --output-delimiter=' ' <<<"$5"))
    echo "filter add dev n$1 egress prio $2 protocol $3 u32 match u16 $high 0xffff at $4 match u16 $low 0xffff at $(($4 + 2))" \
        "action mirred egress redirect dev hole"
}

switch_apply_direction() {
    sw_tc filter del dev "n$1" "$3" prio 1 2>/dev/null || true
    [ ! -e "$lab_state/n$1.cut-$2" ] || sw_tc filter add dev "n$1" "$3" prio 1 protocol all \
        u32 match u32 0 0 action mirred egress redirect dev hole
}
