#!/bin/bash
# Containers by liblxc are moved while they run: one full of what a guest can hold (tests/lab/selfcheck) looks at itself after each
# move, and is entered, attached to, logged, counted, adopted, drained and ended as one that was started there; one that was booted
# moves too. What cannot be is refused, and a restore that fails leaves it running where it was.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"
. "$scenarios/selfcheck.sh"
build=$("$skein_root/deploy/build")

logged_last() { on "${1#n}" grep -q "$3" "/var/log/skein/guests/$2.log"; }
is_at() { [ "$(json 1 '"\(.node) \(.state)"' skein guest show "$1")" = "$2 running" ]; }
move() { is_at "$1" "$2" || on 1 skein guest migrate "$1" --to "$2" --timeout 60s; }
# counted: the last number that the guest's shell said
counted() { on 1 skein guest logs full | tr -d '\r' | sed -n 's/^count //p' | tail -n 1; }
counts_on() { local n; n=$(counted) && [ "${n:-0}" -gt "$1" ]; }
# Its terminal gives back what is written to it; the console stays open until somebody leaves it.
answered() { grep -q 'is anybody there' "$work/console"; }
answer() {
    : >"$work/console"
    (echo 'is anybody there'; wait_until 20 answered; printf '\035') | on 1 timeout 60 skein guest console full >"$work/console"
    answered
}
# What is left of a guest that went
left_on() { on "$1" sh -c 'ls -d /run/skein/guests/'"$2"' /run/skein/netns/'"$2"' /sys/fs/cgroup/*/skein/*/'"$2"'
    find /sys/fs/cgroup -name "lxc.*.'"$2"'*"' 2>/dev/null; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/root"
install -m 755 "$build/tests/lab/selfcheck/selfcheck" "$work/root/bin/"
mkdir "$work/root/sbin"
printf '#!/bin/sh\ntrap "echo init ends; exit 0" PWR\necho init begins\nn=0\nwhile :; do n=$((n + 1)); echo "$n" >/run/n; sleep 0.1; done\n' \
    >"$work/root/sbin/init"
chmod 755 "$work/root/sbin/init"
tar --create --file "$work/image.tar" --directory "$work/root" --owner 0 --group 0 .
on 1 sh -c 'cat >/tmp/image.tar' <"$work/image.tar"
ok 'an image' on 1 skein image add full /tmp/image.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'a peer that stays' on 1 skein guest run peer --image full --slice red --on n3 --memory 32m -- /bin/selfcheck peer
ok 'it listens' wait_until 60 logged peer 'selfcheck: peer'
peer=$(json 1 .ip skein guest show peer)
for k in 2 3; do on 1 skein node cordon n$k; done
ok 'a container full of everything' on 1 skein guest run full --kind lxc --image full --slice red --memory 128m --env GREETING=hello -- \
    /bin/sh -c "/bin/selfcheck serve $peer & "'trap "echo bye after \$n; exit 7" TERM
        n=0; while :; do n=$((n + 1)); [ $((n % 10)) -gt 0 ] || echo "count $n"; sleep 0.05; done'
ok 'it is set up' wait_until 60 logged full 'ready' || { on 1 skein guest logs full; bail 'it is not'; }
ok 'one that is booted' on 1 skein guest run boot --kind lxc --image full --memory 32m
for k in 2 3; do on 1 skein node uncordon n$k; done
look 'before'

# What is said beforehand
check() { on 1 skein guest migrate full --check "$@" -f json; }
verdict() { check "$@" | jq -r '"\(.verdict) \([.reasons[] | select(.severity == "obstacle") | .code] | join(" "))"'; }
becomes 'nothing speaks against a move' 'possible ' verdict
becomes 'but against one by pre-copy' 'impossible mode' verdict --mode pre
refused 'a move by pre-copy' 1 'pre-copy' on 1 skein guest migrate full --to n2 --mode pre

# There and back
for to in n2 n1 n2; do
    n=$(counted)
    ok "it moves to $to" wait_until 180 move full "$to"
    ok 'it is there' wait_until 60 is_at full "$to"
    look "on $to"
    ok 'its shell counts on, into its log' wait_until 60 counts_on "${n:-0}"
    ok 'its console' wait_until 60 answer
done
# What it said while it stood still is not lost: every tenth number, with none left out
whole() { on 1 skein guest logs full | tr -d '\r' | sed -n 's/^count //p' | awk 'NR > 1 && $1 != last + 10 { print last, $1 } { last = $1 }'; }
is 'its log has no gap' "$(whole)" ''
becomes 'nothing of it stays where it was' '' left_on 1 full
ok 'nothing of the moves stays' wait_until 60 is_clean
inside() { on 1 skein guest exec full -- /bin/sh -c 'hostname; echo $GREETING; ifconfig eth0 | grep -c 10.7.0' | tr '\n' ' '; }
becomes 'a command in it' 'full hello 1 ' inside
rc=0; on 1 skein guest exec full -- /bin/sh -c 'exit 5' || rc=$?
is 'gives its code' "$rc" 5
used() { json 1 '.memory_bytes > 0 and .processes > 3 and .cpu_ms > 0' skein guest stats full; }
becomes 'what it uses is counted' true used

# Who keeps it there may go
pid=$(look_processes selfcheck | awk '$1 == "n2" { print $2; exit }')
on 2 sh -c 'kill -9 "$(cat /run/node/skein-guard.pid)" "$(cat /run/node/skeind.pid)"'
adopted() { is_at full n2 && on 1 skein guest exec full -- /bin/true && [ -e "/proc/$pid" ]; }
ok 'a killed guard and skeind are followed by some that adopt it' wait_until 60 adopted
look 'adopted'

# A restore that fails
on 1 sh -c 'mv /usr/sbin/criu /usr/sbin/criu.real; cat >/usr/sbin/criu; chmod 755 /usr/sbin/criu' <<'S'
#!/bin/sh
[ "$1" = restore ] || exec /usr/sbin/criu.real "$@"
while [ "$1" != --images-dir ]; do shift; done
echo '(00.1) Error (criu/fault.c:1): it was made to fail' >"$2/restore.log"
exit 1
S
refused 'a move whose restore fails' 1 'made to fail' on 1 skein guest migrate full --to n1 --mode stop --timeout 60s
ok 'it runs on where it was' wait_until 60 is_at full n2
look 'after the failure'
on 1 mv /usr/sbin/criu.real /usr/sbin/criu
becomes 'nothing of it stays at the target' '' left_on 1 full

# With its node, and its end
booted() { on 1 skein guest exec boot -- /bin/cat /run/n; }
before=$(number booted)
ok 'one node is drained' on 1 skein node drain n1
drained() { [ "$(json 1 '.node' skein guest show boot)" != n1 ]; }
ok 'and the booted one goes with it' wait_until 60 drained
goes_on() { local n; n=$(booted) && [ "$n" -gt "$before" ]; }
ok 'its init goes on' wait_until 60 goes_on
ok 'and did not begin anew' test "$(on 1 skein guest logs boot | grep -c 'init begins')" = 1
node=$(json 1 .node skein guest show boot)
ok 'it is told to end' on 1 skein guest stop boot
ok 'in its own way' wait_until 60 logged_last "$node" boot 'init ends'
ok 'so is the other' on 1 skein guest stop full
ok 'and says so' wait_until 60 logged_last n2 full 'bye after'
is 'nothing of it runs' "$(look_processes selfcheck | wc -l)" 1
ok 'and removed' on 1 skein guest rm full
becomes 'nothing of it stays' '' left_on 2 full
done_testing
