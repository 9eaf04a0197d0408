# What scenarios of virtual machines that move begin with (sourced after lib.sh): vm1 counts in its memory on node $a, and
# answers a client on node $watcher, n1, which leads; node $b has nothing of it. QEMU translates here (TCG).
. "$skein_root/deploy/look.sh"

qemu=qemu-system-x86    # as the kernel cuts its name
watcher=1
here() { on "$watcher" "$@"; }
show() { json "$watcher" "$1" skein guest show vm1; }
# The one copy there is runs on node K; the source's frozen copy goes a moment after a move is over.
runs_at() { [ "$(look_running $qemu | awk '{ print $1 }' | tr '\n' ' ')$(look_processes $qemu | wc -l)" = "n$1 1" ]; }
says() { here skein guest logs vm1 | has "$1"; }
count_log() { here skein guest exec client -- cat /count.log; }
last_count() { count_log | awk '/ count [0-9]/ { n = $NF } END { print n + 0 }'; }
counts_on() { [ "$(last_count)" -gt "$1" ]; }
copies_some() {
    json "$watcher" '.[0].progress | .round >= 1 and .done_bytes > 0 and .total_bytes > .done_bytes' skein migration list | has -x true
}
placed() { a=$(show .node); a=${a#n}; [[ $a == [23] ]]; }

# begin_vm SCRIPT: a shell script that the machine runs at each boot
begin_vm() {
    local file images
    { "$skein_root/deploy/make-image" --vm "$work/vm.tar" && "$skein_root/deploy/make-image" "$work/web.tar"; } &
    images=$!
    ok 'a cluster of three' lab up -n 3 --backhaul 1gbit --conf profile=wan --join || bail 'no cluster'
    wait $images
    for file in vm.tar web.tar; do on 1 sh -c "cat >/tmp/$file" <"$work/$file"; done
    on 1 sh -c 'cat >/tmp/user-data' <<<"$1"
    ok 'an image with a kernel' on 1 skein image add vm /tmp/vm.tar
    ok 'an image of cells' on 1 skein image add web /tmp/web.tar
    ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
    on 1 skein node cordon n1 >/dev/null
    ok 'a machine that counts in its memory' on 1 skein guest run vm1 --kind vm --image vm --slice red --cores 1 --memory 192m \
        --user-data /tmp/user-data --timeout 300s
    ok 'on a node' wait_until 60 placed
    on 1 skein node uncordon n1 >/dev/null
    b=$((5 - a))
    ok 'a client on the third node' here skein guest run client --image web --slice red --on "n$watcher" -- /bin/count 10.7.0.2 7000 /count.log
    ok 'it boots' wait_until 300 says 'vm1: up after .* boot 1 of its disk'
    ok 'and counts' wait_until 300 counts_on 0
}
