#!/bin/bash
# A guest full of what a guest can hold (tests/lab/selfcheck) is moved to another node and back, twice, and looks at itself after
# each move: threads, children, memory, signals, files, locks, channels, timers, connections to a guest that stays.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$scenarios/selfcheck.sh"
build=$("$skein_root/deploy/build")

is_at() { [ "$(json 1 '"\(.node) \(.state)"' skein guest show full)" = "$1 running" ]; }
move() { is_at "$1" || on 1 skein guest migrate full --to "$1" --timeout 60s; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/root"
install -m 755 "$build/tests/lab/selfcheck/selfcheck" "$work/root/bin/"
tar --create --file "$work/image.tar" --directory "$work/root" --owner 0 --group 0 .
on 1 sh -c 'cat >/tmp/image.tar' <"$work/image.tar"
ok 'an image' on 1 skein image add full /tmp/image.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'a peer that stays' on 1 skein guest run peer --image full --slice red --on n3 --memory 32m -- /bin/selfcheck peer
ok 'it listens' wait_until 60 logged peer 'selfcheck: peer'
# CRIU reads the limits of a process of another user only with this capability (24: CAP_SYS_RESOURCE).
users=users
if [ $((0x$(on 1 sed -n 's/^CapEff:.//p' /proc/self/status) >> 24 & 1)) = 0 ]; then
    users=''
    skip 'processes of other users' 'root of this machine lacks CAP_SYS_RESOURCE; 41-check shows that it is named'
fi
ok 'a guest full of everything' on 1 skein guest run full --image full --slice red --memory 128m --restart never -- \
    /bin/selfcheck serve "$(json 1 .ip skein guest show peer)" $users
ok 'it is set up' wait_until 60 logged full 'ready' || { on 1 skein guest logs full; bail 'it is not'; }
look 'before'
obstacles() { on 1 skein guest migrate full --check -f json | jq -r '[.reasons[] | select(.severity == "obstacle") | .code] | join(" ")'; }
becomes 'nothing speaks against a move' '' obstacles
home=$(json 1 .node skein guest show full)
away=n1
[ "$home" != n1 ] || away=n2
for to in "$away" "$home" "$away" "$home"; do
    ok "it moves to $to" wait_until 180 move "$to"
    ok 'it is there' wait_until 60 is_at "$to"
    look "on $to"
done
ok 'nothing of the moves stays' wait_until 60 is_clean
done_testing
