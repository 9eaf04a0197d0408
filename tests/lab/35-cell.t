#!/bin/bash
# Cells and their mover on real nodes, driven by cell-driver instead of the daemons: start, exec, log, images that do harm;
# a move with an established connection; what was written moves along; every way back.
# limit: 300
. "$(dirname "$0")/lib.sh"
build=$("$skein_root/deploy/build")
"$skein_root/deploy/make-image" "$work/image.tar" || bail 'no guest image'

freezer=/sys/fs/cgroup/freezer/cells
[ -d /sys/fs/cgroup/freezer ] || freezer=/sys/fs/cgroup/cells
driver() { on "$1" /run/cells/cell-driver "${@:2}"; }
# joined K CMD...: as the guard's executor does it: in the guest's cgroup first
joined() { on "$1" sh -c 'echo $$ >'"$freezer"'/cgroup.procs; exec /run/cells/cell-driver "$@"' sh "${@:2}"; }
copy_in() { on "$1" sh -c "cat >$3 && chmod 755 $3" <"$2"; }
in_guest() { driver "$1" exec web "$pid" sh -c "$2"; }
log_of() { on "$1" cat /var/log/skein/guests/web.log; }
gone() { ! on "$1" test -e "/proc/$2"; }
freezer_says() { on "$1" cat "$freezer/freezer.state" "$freezer/cgroup.freeze" 2>/dev/null; }
thaw() { on "$1" sh -c "echo THAWED >$freezer/freezer.state || echo 0 >$freezer/cgroup.freeze" 2>/dev/null; }
destroy() {
    on "$1" sh -c "kill -9 \$(cat $freezer/cgroup.procs)" 2>/dev/null
    thaw "$1"
    wait_until 60 on "$1" sh -c "[ -z \"\$(cat $freezer/cgroup.procs)\" ]"
}
# What a migration leaves lying about on a node, CRIU's network locks included.
leftovers() {
    on "$1" sh -c 'find /run/skein/guests /var/lib/skein/guests -maxdepth 2 \( -name "checkpoint*" -o -name "*.new" \);
        ls /var/log/skein/guests | grep new; grep -E "checkpoint|/guests/.*/root" /proc/self/mounts
        nsenter --net=/run/skein/netns/web nft list tables'
}

# make_place K ADDRESS LASTBYTE: the guest's namespace with its port, joined over the underlay; stands in for the fabric.
make_place() {
    on "$1" sh -e -s "$1" "$2" "$3" <<'S'
mkdir -p /run/cells /run/skein/netns
for group in /sys/fs/cgroup/freezer /sys/fs/cgroup/memory; do [ ! -d $group ] || mkdir $group/cells; done
[ -d /sys/fs/cgroup/freezer ] || mkdir /sys/fs/cgroup/cells
ip link add cells type bridge mcast_snooping 0
ip link add cells-vx type vxlan id 77 dstport 4790 local 10.90.0.$1
ip link set cells-vx master cells up
ip link set cells up
for other in 1 2 3; do
    [ $other = $1 ] || bridge fdb append 00:00:00:00:00:00 dev cells-vx dst 10.90.0.$other
done
S
    make_netns "$@"
}
# make_netns K ADDRESS LASTBYTE
make_netns() {
    on "$1" sh -e -s "$1" "$2" "$3" <<'S'
touch /run/skein/netns/web
unshare --net mount --bind /proc/self/ns/net /run/skein/netns/web
ip link add cells-port mtu 1450 type veth peer name cells-guest mtu 1450
ip link set cells-port master cells
ip link set cells-guest netns /run/skein/netns/web
nsenter --net=/run/skein/netns/web sh -e -c "
    ethtool -K cells-guest tx off >/dev/null
    ip link set lo up
    ip link set cells-guest name eth0 address 02:5c:0a:07:00:$3
    ip addr add $2/24 dev eth0
    ip link set eth0 up
    echo 20 >/proc/sys/net/ipv4/neigh/eth0/retrans_time_ms"    # as the fabric has it: the port is down for a moment
S
}
start() { joined 1 start "$1" "$digest" "${@:2}"; }

ok 'three nodes come up' lab up -n 3 || bail 'no lab'
for node in 1 2 3; do
    ok "place for a guest on n$node" make_place $node 10.7.0.$((node < 3 ? 2 : 9)) 0$((node < 3 ? 2 : 9)) || bail 'no place'
    copy_in $node "$build/tests/lab/cell-driver" /run/cells/cell-driver
done

# Images
for node in 1 2; do
    copy_in $node "$work/image.tar" /run/cells/image.tar
    digest=$(driver $node unpack /run/cells/image.tar)
done
is 'an image has its digest for a name' "$(on 1 ls /var/lib/skein/roots)" "$digest"
is 'a file of the image arrived' "$(on 1 stat -c %a "/var/lib/skein/roots/$digest/bin/counter")" 755
mkdir "$work/evil"
python3 - "$work/evil" <<'P' 2>/dev/null || on 1 true
import io, sys, tarfile
def make(name, *members):
    with tarfile.open(f'{sys.argv[1]}/{name}.tar', 'w') as tar:
        for path, type_, link in members:
            info = tarfile.TarInfo(path)
            info.type, info.linkname, info.size = type_, link, 4 if type_ == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b'evil') if info.size else None)
make('dotdot', ('../evil', tarfile.REGTYPE, ''))
make('absolute', ('/run/cells/evil', tarfile.REGTYPE, ''))
make('link', ('way', tarfile.SYMTYPE, '/run/cells'), ('way/evil', tarfile.REGTYPE, ''))
make('empty')
P
printf 'no archive at all' >"$work/evil/garbage.tar"
head -c 20000 "$work/image.tar" >"$work/evil/short.tar"
for archive in "$work/evil/"*.tar; do
    copy_in 1 "$archive" /run/cells/evil.tar
    fails "image $(basename "$archive" .tar) is refused" driver 1 unpack /run/cells/evil.tar
done
is 'nothing of a refused image stays' "$(on 1 ls /var/lib/skein/roots)" "$digest"
is 'nothing got out of it' "$(on 1 find / -xdev -name evil)" ''

# A volume is mounted where its path says, and nowhere that a link leads to
upper=/var/lib/skein/guests/web/upper
on 1 sh -c "mkdir -p $upper; ln -s /etc $upper/way"
start_with() { joined 1 start-with web "$digest" "$1" counter 7000; }
refused 'a volume behind a link' 125 'without links' start_with data:/way/data
is 'nothing is made where the link leads' "$(on 1 sh -c "cd $upper; ls -d etc/data way/data /etc/data" 2>/dev/null)" ''
on 1 rm "$upper/way"

# A cell
on 1 ip link set cells-port up
on 3 ip link set cells-port up
pid=$(start web counter 7000) || bail 'the guest did not start'
ok 'a cell starts' on 1 test -d "/proc/$pid"
is 'init is its first process' "$(in_guest 1 'cat /proc/1/comm')" init
ok 'it sees its own processes only' test "$(in_guest 1 'ls /proc | grep -c "^[0-9]"')" -lt 8
is 'it has its own name' "$(in_guest 1 hostname)" web
is 'its environment is that of the spec' "$(in_guest 1 'echo $GREETING')" hello
is 'it is in its cgroup' "$(on 1 grep -c freezer:/cells\$ "/proc/$pid/cgroup" || on 1 grep -c ::/cells "/proc/$pid/cgroup")" 1
is 'few capabilities' "$(in_guest 1 'sed -n "s/^CapBnd:.//p" /proc/self/status')" 00000000a00425fb
is 'no new privileges, and a filter' "$(in_guest 1 'sed -n "s/^NoNewPrivs:.//p; s/^Seccomp:.//p" /proc/1/status' | tr '\n' ' ')" '1 2 '
is 'no descriptor of the node in it' "$(on 1 sh -c "ls -l /proc/$pid/fd /proc/$pid/task/*/children | grep -c -e '-> /[^d]'")" 0
fails 'the kernel cannot be set from inside' in_guest 1 'echo x >/proc/sys/kernel/core_pattern'
fails 'nothing can be mounted from inside' in_guest 1 'mount -t tmpfs none /tmp'
fails 'no device can be made' in_guest 1 'mknod /tmp/disk b 8 0'
is 'exec has the exit code of its command' "$(in_guest 1 'exit 9'; echo $?)" 9
is 'what cannot be run is 127' "$(driver 1 exec web "$pid" nothing-like-that 2>/dev/null; echo $?)" 127
is 'a killed command is 128 and the signal' "$(in_guest 1 'kill -9 $$'; echo $?)" 137
fails 'a start that cannot run its command says so' start other nothing-like-that
ok 'what it made is cleaned up' driver 1 clean-up other

# What it wrote: to be found again after the move
in_guest 1 'echo new >/root/new; ln /root/new /root/twin; ln -s new /root/link; rm /etc/group
    mkdir -m 2750 /root/dir; echo x >/root/dir/x; chmod 4711 /root/dir/x; chown 12:34 /root/dir/x; touch -d @1234567 /root/dir/x
    rm -r /root/../var; mkdir /var; echo y >/var/y; mkfifo /root/fifo; echo shm >/dev/shm/shm; echo dev >/dev/dev'
written='stat -c "%n %a %u %g %h %s" /root/new /root/twin /root/dir /root/dir/x /root/fifo; stat -c %Y /root/dir/x
    readlink /root/link; cat /root/twin /var/y /dev/shm/shm /dev/dev; find /var /etc | sort; stat -c "%F %t %T" /dev/null'
before=$(in_guest 1 "$written")

# A client on n3 that asks over one connection, for as long as it lives: "N MS", MS being how long it waited for N.
on 3 sh -c 'cat >/run/cells/client.py' <<'P'
import socket, time
connection = socket.create_connection(('10.7.0.2', 7000), timeout=30)
answers, wanted = connection.makefile('r'), 1
print('connected', flush=True)
while True:
    start = time.monotonic()
    connection.sendall(b'next\n')
    got = int(answers.readline())
    print(got if got == wanted else f'lost {wanted}', round((time.monotonic() - start) * 1000), flush=True)
    wanted = got + 1
    time.sleep(0.005)
P
start_client() {
    wait_until 60 on 3 nsenter --net=/run/skein/netns/web ping -c 1 -W 1 10.7.0.2
    on 3 sh -c 'nsenter --net=/run/skein/netns/web python3 /run/cells/client.py >/run/cells/counted 2>&1 & echo $! >/run/cells/client'
    wait_until 60 on 3 grep -q '^1 ' /run/cells/counted
}
ok 'a client counts over one connection' start_client
counted() { on 3 sh -c 'wc -l </run/cells/counted'; }
goes_on() { local n; n=$(counted); wait_until 60 on 3 sh -c "[ \"\$(wc -l </run/cells/counted)\" -gt $((n + 20)) ]"; }
lost() { on 3 grep -E 'lost|Error' /run/cells/counted; }

# Back: nothing was lost
capture() { on "${1:-1}" sh -c "ip link set cells-port down; /run/cells/cell-driver capture web $pid $freezer"; }
resumed() { thaw 1; on 1 ip link set cells-port up; }
capture_to_file() { capture >"$work/stream"; }
ok 'a capture to a file' capture_to_file
is 'the guest stays frozen after it' "$(freezer_says 1)" FROZEN
ok 'resume' driver 1 resume web
resumed
ok 'the client counts on' goes_on
is 'nothing of the capture stays' "$(leftovers 1)" ''
# Gone before the first byte: a pipe may hold the whole stream, however soon its reader ends.
capture_into_void() {
    local void rc=0
    exec {void}> >(:)
    wait $!
    capture >&"$void" || rc=$?
    exec {void}>&-
    return $rc
}
fails 'a capture whose receiver goes away' capture_into_void
on 1 ip link set cells-port up
is 'the guest runs again at once' "$(freezer_says 1)" THAWED
ok 'the client counts on again' goes_on
is 'nothing of the failed capture stays' "$(leftovers 1)" ''
driver 1 exec web "$pid" sh -c 'echo >/tmp/in; until [ -e /tmp/out ]; do sleep 0.05; done; rm /tmp/in /tmp/out' &
intruder=$!
wait_until 60 in_guest 1 'test -e /tmp/in'
fails 'a guest with a foreign command in it is not captured' capture
on 1 ip link set cells-port up
in_guest 1 'touch /tmp/out'
wait $intruder

# Streams that are no good
receive_cut() { head -c "$1" "$work/stream" | driver 2 receive web; }
size=$(stat -c %s "$work/stream")
for part in 0 7 1000 $((size / 2)) $((size - 1)); do fails "a stream of $part bytes of $size is refused" receive_cut $part; done
receive_damaged() { { head -c $((size / 2)) "$work/stream"; printf XX; tail -c +$((size / 2 + 3)) "$work/stream"; } | driver 2 receive web; }
fails 'a damaged stream is refused' receive_damaged
receive_as() { driver 2 receive other <"$work/stream"; }
fails 'a stream for another guest is refused' receive_as
fill_disk() { on 2 sh -c 'mkdir -p /run/skein/guests/web; mount -t tmpfs -o size=100k full /run/skein/guests/web; /run/cells/cell-driver receive web; rc=$?; umount /run/skein/guests/web; exit $rc' <"$work/stream"; }
fails 'a stream that finds no room is refused' fill_disk
is 'nothing of them stays' "$(leftovers 2)" ''

# The move
# move FROM TO [stand-by]: prints the pid that it has there
move() {
    [ -z "${3:-}" ] || joined "$2" "$3" web "$digest" || return
    capture "$1" 2>"$work/captured" | {
        driver "$2" receive web 2>"$work/received" || { cat "$work/captured" "$work/received"; exit; }
        for node in 3 "$2"; do    # the others are told that it moves
            for table in self master; do on $node bridge fdb del 02:5c:0a:07:00:02 dev cells-vx $table; done
        done 2>/dev/null
        joined "$2" activate web "$digest" 2>"$work/activated" || cat "$work/activated"
        on "$2" ip link set cells-port up
        driver "$2" discard web
    }
}
us() { sed -n "s/.*$2=\([0-9]*\).*/\1/p" "$work/$1"; }
log_before=$(log_of 1)
asked=$(counted)
pid=$(move 1 2)
ok 'a guest moves' on 2 test -d "/proc/$pid"
frozen=$(us captured frozen_us)
running=$(us activated running_us)
ok 'the client counts on, over the same connection' goes_on
echo "# moved $(us captured bytes) bytes; handed over after $((($(us captured handed_over_us) - frozen) / 1000)) ms, running after" \
    "$(((running - frozen) / 1000)) ms (the scenario's own commands included); the client waited" \
    "$(on 3 tail -n +"$((asked + 1))" /run/cells/counted | awk '$2 > most { most = $2 } END { print most }') ms"
is 'no answer was lost' "$(lost)" ''
is 'what it wrote came along' "$(in_guest 2 "$written")" "$before"
is 'its log came along' "$(log_of 2)" "$log_before"
is 'it is in its cgroup there' "$(on 2 grep -c freezer:/cells\$ "/proc/$pid/cgroup" || on 2 grep -c ::/cells "/proc/$pid/cgroup")" 1
is 'its filter came along' "$(in_guest 2 'sed -n "s/^NoNewPrivs:.//p; s/^Seccomp:.//p" /proc/2/status' | tr '\n' ' ')" '1 2 '
is 'nothing of the move stays at the target' "$(leftovers 2)" ''
is 'the source still holds its frozen copy' "$(freezer_says 1)" FROZEN
destroy 1
ok 'the source is cleaned up' driver 1 clean-up web
ok 'and discarded' driver 1 discard web
is 'nothing of it stays there' "$(on 1 find /run/skein/guests /var/lib/skein/guests /var/log/skein/guests -name 'web*')" ''
on 1 ip link del cells-port    # the killed copy's sockets, in no state to say good-bye, hold its namespace for a while
ok 'the namespace for its way back' make_netns 1 10.7.0.2 02

# And back again
in_guest 2 'rm /root/dir/x /var/y; echo later >/root/later'
written='cat /root/later /dev/shm/shm; find /root /var /etc | sort'
before=$(in_guest 2 "$written")
pid=$(move 2 1 stand-by)
ok 'a guest moves a second time, restored ahead' on 1 test -d "/proc/$pid"
ok 'the client counts on, over the same connection' goes_on
is 'no answer was lost' "$(lost)" ''
is 'what it wrote came along' "$(in_guest 1 "$written")" "$before"
destroy 2
ok 'its second source is cleaned up' driver 2 clean-up web
client=$(on 3 cat /run/cells/client)
on 3 kill "$client"

# The end
ok 'terminate' driver 1 terminate "$pid"
ok 'the guest ends' wait_until 60 gone 1 "$pid"
ok 'clean-up' driver 1 clean-up web
is 'the network namespace of a guest without a slice goes with it' "$(on 1 ls /run/skein/netns)" ''
is 'nothing of it stays' "$(on 1 find /run/skein/guests /var/lib/skein/guests /var/log/skein/guests -name 'web*')" ''

# A shell as a command, and a log that would grow for ever (the namespace is made by start itself)
pid=$(joined 2 start web "$digest" sh -c 'while :; do seq 1 100000; done')
cut() { on 2 grep -q 'older output was cut' /var/log/skein/guests/web.log; }
ok 'a log is cut' wait_until 60 cut
ok 'a log does not grow past its limit' test "$(on 2 stat -c %s /var/log/skein/guests/web.log)" -le 1100000

# Restored ahead: all of it is there, and nothing of its own runs until it may
size_of_log() { on "$1" stat -c %s /var/log/skein/guests/web.log; }
received() { driver 1 receive web <"$work/noisy"; }
held() { on 1 sh -c "[ \"\$(wc -l <$freezer/cgroup.procs)\" -ge 2 ]"; }
nobody() { [ -z "$(on 1 cat "$freezer/cgroup.procs")" ]; }
writes() { [ "$(size_of_log 1)" != "$(size_of_log 2)" ]; }
capture_noisy() { on 2 /run/cells/cell-driver capture web "$pid" "$freezer" >"$work/noisy"; }
ok 'a shell that writes all the time is captured' capture_noisy
on 1 sh -c 'mkdir -p /run/skein/netns; touch /run/skein/netns/web; unshare --net mount --bind /proc/self/ns/net /run/skein/netns/web'
ok 'somebody stands by' joined 1 stand-by web "$digest"
ok 'received' received
ok 'its processes are there' wait_until 60 held
is 'nothing of its own has run' "$(size_of_log 1)" "$(size_of_log 2)"
ok 'taken back' driver 1 discard web
ok 'no process of it stays' wait_until 60 nobody
is 'nothing that it was restored from stays' "$(leftovers 1; on 1 sh -c 'ls -d /tmp/.criu*' 2>/dev/null)" ''
ok 'somebody stands by again' joined 1 stand-by web "$digest"
ok 'who stands by goes when nothing comes' driver 1 discard web
ok 'no process of it stays' wait_until 60 nobody
is 'nor anything else' "$(leftovers 1)" ''
ok 'somebody stands by once more' joined 1 stand-by web "$digest"
ok 'received again' received
ok 'its processes are there again' wait_until 60 held
is 'still nothing of its own has run' "$(size_of_log 1)" "$(size_of_log 2)"
ok 'it may run' joined 1 activate web "$digest"
ok 'it writes' wait_until 60 writes
ok 'what it was restored from goes' driver 1 discard web
destroy 1
ok 'cleaned up' driver 1 clean-up web
thaw 2
driver 2 terminate "$pid"
ok 'a shell ends on SIGTERM' wait_until 60 gone 2 "$pid"
ok 'clean-up that keeps what was written' driver 2 clean-up web keep
ok 'it is there' on 2 test -d /var/lib/skein/guests/web/upper/.skein
done_testing
