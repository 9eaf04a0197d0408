#!/bin/bash
# Pre-copy by the cells' mover, driven by cell-driver instead of the daemons, in a board whose kernel says which pages were written:
# a guest that checks its memory and writes to it is copied in rounds while it runs, and the rest while it
# stands still; a stream that ends amid the rounds leaves it as it was.
# limit: 900
. "$(dirname "$0")/../lib.sh"
build=$("$skein_root/deploy/build")
"$skein_root/deploy/make-image" "$work/image.tar" || bail 'no guest image'

freezer=/sys/fs/cgroup/cells
driver() { on "$1" /run/cells/cell-driver "${@:2}"; }
# joined K CMD...: as the guard's executor does it: in the guest's cgroup first
joined() { on "$1" sh -c 'echo $$ >'"$freezer"'/cgroup.procs; exec /run/cells/cell-driver "$@"' sh "${@:2}"; }
copy_in() { on "$1" sh -c "cat >$3 && chmod 755 $3" <"$2"; }
leftovers() {
    on "$1" sh -c 'find /run/skein/guests /var/lib/skein/guests -maxdepth 2 \( -name "checkpoint*" -o -name "*.new" \)
        ls /var/log/skein/guests | grep new; grep -E "checkpoint" /proc/self/mounts; pgrep -x criu; true'
}
is_frozen() { on "$1" cat "$freezer/cgroup.freeze"; }

# make_place K: the guest's namespace with its port, on a bridge that the underlay joins; stands in for the fabric.
make_place() {
    on "$1" sh -e -s "$1" <<'S'
mkdir -p /run/cells /run/skein/netns /sys/fs/cgroup/cells
ip link add cells type bridge mcast_snooping 0
ip link add cells-vx type vxlan id 77 dstport 4790 local 10.90.0.$1 remote 10.90.0.$((3 - $1))
ip link set cells-vx mtu 1450 master cells up
ip addr add 10.7.0.$((100 + $1))/24 dev cells
ip link set cells mtu 1450 up
S
    make_netns "$1"
}
make_netns() {
    on "$1" sh -e -s <<'S'
touch /run/skein/netns/web
unshare --net mount --bind /proc/self/ns/net /run/skein/netns/web
ip link add cells-port mtu 1450 type veth peer name cells-guest mtu 1450
ip link set cells-port master cells
ip link set cells-guest netns /run/skein/netns/web
nsenter --net=/run/skein/netns/web sh -e -c "
    ethtool -K cells-guest tx off >/dev/null
    ip link set lo up
    ip link set cells-guest name eth0 address 02:5c:0a:07:00:02
    ip addr add 10.7.0.2/24 dev eth0
    ip link set eth0 up"
S
}
destroy() {
    on "$1" sh -c "echo 1 >$freezer/cgroup.kill; echo 0 >$freezer/cgroup.freeze"
    wait_until 60 on "$1" sh -c "[ -z \"\$(cat $freezer/cgroup.procs)\" ]"
    driver "$1" discard web
    driver "$1" clean-up web
    on "$1" ip link del cells-port
    make_netns "$1"
}

ok 'two nodes come up' lab up -n 2 --backhaul 1000mbit || bail 'no lab'
for node in 1 2; do
    ok "place for a guest on n$node" make_place $node || bail 'no place'
    copy_in $node "$build/tests/lab/cell-driver" /run/cells/cell-driver
    copy_in $node "$work/image.tar" /run/cells/image.tar
    digest=$(driver $node unpack /run/cells/image.tar)
done
on 1 ip link set cells-port up
pid=$(joined 1 start web "$digest" counter 7000 16 1 2) || bail 'the guest did not start'
at=1

log_of() { on "$at" cat /var/log/skein/guests/web.log; }
passes() { log_of | grep -c '^pass '; }
passes_beyond() { [ "$(passes)" -gt "$1" ]; }
reads_all() { local before; before=$(passes); wait_until 200 passes_beyond $((before + 1)); }
bad() { log_of | sed -n 's/^pass [0-9]*: [0-9]* pages, \([0-9]*\) bad$/\1/p' | sort -n | tail -n 1; }
client_log() { on 2 cat /run/cells/count.log; }
start_client() {
    on 2 sh -c "setsid /var/lib/skein/roots/$digest/bin/count 10.7.0.2 7000 /run/cells/count.log 50 >/dev/null 2>&1 & echo \$! >/run/cells/client"
    wait_until 100 is_connected
}
is_connected() { client_log | grep -q connected; }
ok 'a guest of 16 MiB reads its memory' reads_all

us() { sed -n "s/.*$2=\([0-9]*\).*/\1/p" "$work/$1" | tail -n 1; }
word() { sed -n "s/.* $2=\([a-z]*\).*/\1/p" "$work/$1" | tail -n 1; }
# copy_out K MODE LAST_ROUND_MS [post]: the stream of a move from node K, in mode stop, or in rounds first
copy_out() {
    case $2 in
        stop) on "$1" sh -c "ip link set cells-port down; exec /run/cells/cell-driver capture web $pid $freezer stop" ;;
        *) on "$1" sh -c "
            /run/cells/cell-driver copy web $pid $freezer $3 ${4:-} 2>/tmp/copied || { cat /tmp/copied >&2; exit 1; }
            cat /tmp/copied >&2
            ip link set cells-port down
            exec /run/cells/cell-driver capture web $pid $freezer \$(sed -n 's/.* next=\([a-z]*\).*/\1/p' /tmp/copied)" ;;
    esac 2>"$work/copied"
}
# arrive K: what comes in on standard input runs on node K, all of it there; its pid
arrive() {
    driver "$1" receive web 2>"$work/received" || { cat "$work/copied" "$work/received" >&2; return 1; }
    for node in 1 2; do for table in self master; do on $node bridge fdb del 02:5c:0a:07:00:02 dev cells-vx $table; done; done 2>/dev/null
    joined "$1" activate web "$digest" 2>"$work/activated" || { cat "$work/activated" >&2; return 1; }
    on "$1" ip link set cells-port up
    driver "$1" await web
}
# stream A B: runs the words A and B; A's output and B's input are the two ends of one socket, as between nodes: memory that
# follows is asked for by it.
stream() {
    export at pid freezer work digest skein_root
    export -f on lab driver joined copy_out arrive
    perl -MSocket -e '
        socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die;
        my $pid = fork;
        if ($pid == 0) { open(STDOUT, ">&", $a); close $a; close $b; exec "bash", "-c", $ARGV[0] }
        open(STDIN, "<&", $b);
        close $a;
        close $b;
        my $failed = system("bash", "-c", $ARGV[1]);
        close STDIN;
        waitpid $pid, 0;
        exit($failed || $? ? 1 : 0)' "$1" "$2"
}
# move MODE LAST_ROUND_MS [post]: to the other node, where it runs as $pid
move() {
    local to=$((3 - at)) moved
    moved=$(stream "copy_out $at $*" "arrive $to") || return 1
    destroy "$at"
    pid=$moved at=$to
    driver "$to" discard web
    echo "$(us activated running_us) $(us copied frozen_us)" | awk '{ printf "%d\n", ($1 - $2) / 1000 }' >"$work/still"
}
tell() { echo "# $1: it stood still for $(cat "$work/still") ms; $(tr '\n' ';' <"$work/copied")"; }

# What CRIU finds out once on each node, and keeps
ok 'there' move stop
ok 'and back' move stop
ok 'a client has one connection' start_client
ok 'it moves by pre-copy' move pre 500
pre_ms=$(cat "$work/still")
tell pre
is 'which converged' "$(word copied next)" pre
ok 'it reads all of its memory' reads_all
is 'and no page is wrong' "$(bad)" 0
is 'the connection is the same' "$(client_log | grep -cE 'lost|served_again')" 0
is 'nothing is left of the moves' "$(leftovers 1)$(leftovers 2)" ''

# What does not converge stands still in the end: no last round is short enough for this
ok 'with a last round that is never short enough' move pre 0
tell 'no convergence'
is 'it is halted' "$(word copied next)" pre
ok 'after rounds' test "$(us copied rounds)" -ge 2
ok 'and what it was to stand still for was told' test "$(us copied expected_ms)" -gt 0
ok 'it reads all of its memory' reads_all
is 'and no page is wrong' "$(bad)" 0

# … or is followed, where that is wished
ok 'with memory that follows' move pre 0 post
tell 'followed'
is 'it follows' "$(word copied next)" follow
ok 'behind rounds' test "$(us copied rounds)" -ge 1
ok 'it reads all of its memory' reads_all
is 'and no page is wrong' "$(bad)" 0
is 'the connection is the same' "$(client_log | grep -cE 'lost|served_again')" 0
is 'nothing is left of it' "$(leftovers 1)$(leftovers 2)" ''

# The stream ends amid the rounds
cut_after() { copy_out "$at" pre 0 | head -c "$1" >/dev/null; return "${PIPESTATUS[0]}"; }
for bytes in 1000000 17500000; do
    fails "a stream that ends after $bytes bytes" cut_after $bytes
    ok 'is what ends the move' grep -q 'cannot send the guest: Broken pipe' "$work/copied"
    is 'the guest runs on' "$(is_frozen "$at")" 0
    is 'nothing of it stays' "$(leftovers "$at")" ''
done
on "$at" ip link set cells-port up
ok 'it still reads its memory' reads_all
is 'and no page is wrong' "$(bad)" 0
ok 'and moves after that' move pre 500
is 'no page is wrong' "$(bad)" 0

# The same guest by stop-and-copy: what is restored there for the first time was restored before
ok 'and by stop-and-copy' move stop
stop_ms=$(cat "$work/still")
tell stop
ok "pre-copy let it stand still for less: $pre_ms of $stop_ms ms" test "$pre_ms" -lt "$stop_ms"
client=$(on 2 cat /run/cells/client)
on 2 kill "$client"
done_testing
