#!/bin/bash
# Containers by liblxc: started, reached, entered, watched on their console, frozen by the lease and started elsewhere, adopted,
# ended and removed. How they move: 48-lxc-move.t.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

run() { on 1 skein guest run "$@"; }
runs_on() { look_running counter | cut -d' ' -f1; }
state() { json 1 .state skein guest show "$1"; }
is_state() { [ "$(state "$1")" = "$2" ]; }
says() { on 1 skein guest logs "$1" | grep -q "$2"; }
# says_last NODE GUEST WORDS: in the log that is kept of a guest that was stopped
says_last() { on "${1#n}" grep -q "$3" "/var/log/skein/guests/$2.log"; }
reach() { on 1 skein guest exec client -- /bin/ping -c 1 -W 1 10.7.0.2; }
# What is left of the guest on node K: files, namespaces, groups (liblxc's own, too)
left_on() { on "$1" sh -c 'ls -d /run/skein/guests/web /run/skein/netns/web /run/skein/guard/web /sys/fs/cgroup/*/skein/*/web
    find /sys/fs/cgroup -name "lxc.*.web*"' 2>/dev/null; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
"$skein_root/deploy/make-image" "$work/boot"
mkdir "$work/boot/sbin"
printf '#!/bin/sh\ntrap "echo init ends; exit 0" PWR\necho init begins\nwhile :; do sleep 0.1; done\n' >"$work/boot/sbin/init"
chmod 755 "$work/boot/sbin/init"
tar -C "$work/boot" -cf "$work/boot.tar" .
for image in web boot; do
    on 1 sh -c "cat >/tmp/$image.tar" <"$work/$image.tar"
    ok "an image ($image)" on 1 skein image add $image /tmp/$image.tar
done
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
becomes 'boards say that they run them' 'cell lxc vm' json 1 '.kinds | sort | join(" ")' skein node show n2

# Life
for k in 1 3; do on 1 skein node cordon n$k; done
ok 'a guest of kind lxc' run web --kind lxc --image web --slice red --cores 1 --memory 64m --env GREETING=hello -- \
    /bin/sh -c '/bin/counter 7000 & echo it speaks; trap "sleep 2; echo bye; exit 7" TERM; while :; do sleep 0.1; done'
for k in 1 3; do on 1 skein node uncordon n$k; done
becomes 'it runs' running state web
becomes 'its processes are there' n2 runs_on
pid=$(look_processes counter); pid=${pid#* }
ok 'on one core' test "$(look_cores "$pid")" = "$(look_cores "$pid" | tr -d ,-)"
is 'in its slice' "$(look_address "$pid")" 10.7.0.2
outside=$(look_processes skein-guard | awk '$1 == "n2" { print $2; exit }')
own() { for ns in mnt pid uts ipc net cgroup; do
    [ "$(readlink "/proc/$pid/ns/$ns")" = "$(readlink "/proc/$outside/ns/$ns")" ] || printf '%s ' $ns; done; }
is 'in namespaces of its own' "$(own)" 'mnt pid uts ipc net cgroup '
is 'without the capabilities that reach the node' "$(awk '/^CapBnd/ { print $2 }' "/proc/$pid/status")" 00000000a00425fb
is 'behind a filter' "$(awk '/^Seccomp:/ { print $2 }' "/proc/$pid/status")" 2
ok 'a client elsewhere' run client --image web --slice red --on n3 -- /bin/sleep 3600
ok 'reaches it' wait_until 60 reach

# exec, logs, console
inside() { on 1 skein guest exec web -- /bin/sh -c 'hostname; echo $GREETING; ifconfig eth0 | grep -c 10.7.0.2' | tr '\n' ' '; }
becomes 'a command in it' 'web hello 1 ' inside
rc=0; on 1 skein guest exec web -- /bin/sh -c 'exit 5' || rc=$?
is 'gives its code' "$rc" 5
rc=0; on 1 skein guest exec web -- /bin/nowhere 2>/dev/null || rc=$?
is 'one that is not there' "$rc" 127
ok 'what it says is in its log' wait_until 60 says web 'it speaks'
# Its terminal gives back what is written to it; the console stays open until somebody leaves it.
answered() { grep -q 'is anybody there' "$work/console"; }
answer() {
    : >"$work/console"
    (echo 'is anybody there'; wait_until 20 answered; printf '\035') | on 1 timeout 60 skein guest console web >"$work/console"
    answered
}
ok 'its console' wait_until 60 answer

# Refused, with the reason, and nothing is changed
refused 'a command that is not there' 1 'cannot run /bin/nowhere' run none --kind lxc --image web -- /bin/nowhere
ok 'nor is such a guest any more' on 1 sh -c 'skein guest stop none && skein guest rm none'
becomes 'it runs as before' "n2 $pid" look_running counter

# Its lease
lab cut n2
frozen() { look_is_frozen "$pid"; }
ok 'cut off it is frozen' wait_until 60 frozen
elsewhere() { look_running counter | grep -qv '^n2 '; }
ok 'and started elsewhere' wait_until 60 elsewhere
lab heal n2
gone() { [ ! -e "/proc/$pid" ] || look_is_zombie "$pid"; }
ok 'healed, the old copy is destroyed' wait_until 60 gone
becomes 'nothing of it stays there' '' left_on 2

# A guard's restart
node=$(json 1 .node skein guest show web); k=${node#n}
before=$(look_processes counter)
on "$k" sh -c 'kill -9 "$(cat /run/node/skein-guard.pid)"'
adopted() { [ "$(look_running counter)" = "$before" ] && is_state web running; }
ok 'a killed guard is followed by one that adopts it' wait_until 60 adopted
ok 'a command in it still runs' wait_until 60 on 1 skein guest exec web -- /bin/true

# Its end
ok 'it is stopped' on 1 skein guest stop web
ok 'asked, and not hurried' wait_until 60 says_last "$node" web bye
is 'nothing of it runs' "$(look_processes counter | wc -l)" 0
ok 'and removed' on 1 skein guest rm web
becomes 'nothing of it stays' '' left_on "$k"
ok 'one that ends by itself' run short --kind lxc --image web --restart never --memory 32m -- /bin/sh -c 'exit 3'
ended() { is_state short stopped; }
ok 'has ended' wait_until 60 ended
ok 'without a command its init is booted' run boot --kind lxc --image boot --memory 32m
ok 'as its first process' wait_until 60 says boot 'init begins'
node=$(json 1 .node skein guest show boot)
ok 'which is told to end' on 1 skein guest stop boot
ok 'in its own way' wait_until 60 says_last "$node" boot 'init ends'
done_testing
