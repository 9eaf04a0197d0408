#!/bin/bash
# node-init, the first process of a node, with a list of its own inside a node.
# limit: 180
. "$(dirname "$0")/lib.sh"

ok 'a node comes up' lab up -n 1 || bail 'no lab'

# Each service notes when it starts (ms since boot) and then does what its name says.
on 1 sh -c 'mkdir -p /root/i && cd /root/i
note="read up rest </proc/uptime; echo \$up >>/root/i/starts"
printf "#!/bin/sh\n$note.crash\nexit 1\n" >crash
printf "#!/bin/sh\n$note.again\nsleep 0.1\n[ \$(wc -l <starts.again) -ge 11 ] && exec sleep 1000\nexit 75\n" >again
printf "#!/bin/sh\n$note.spin\nexit 75\n" >spin
printf "#!/bin/sh\n$note.first\n(sleep 0.3; touch /run/node/appears) &\n" >first
printf "#!/bin/sh\n$note.last\n(sleep 0.05 &); ls /proc/self/fd >/root/i/fds\nexec sleep 1000\n" >last
chmod +x *
cp /run/node/node-init .
cat >list <<L
once first /root/i/first
wait /run/node/appears
not a step
keep crash /root/i/crash
keep again /root/i/again
keep spin /root/i/spin
keep last /root/i/last
L'
lab exec n1 -- unshare --pid --fork --kill-child --mount --mount-proc sh -c \
    'mount -t tmpfs none /run && mkdir /run/node && cd /root/i && exec ./node-init list >log 2>&1 7</dev/null' 2>/dev/null &
init=$!

starts() { on 1 sh -c "cat /root/i/starts.$1 2>/dev/null | wc -l"; }
has_starts() { [ "$(starts "$1")" -ge "$2" ]; }
first_of() { on 1 head -n 1 "/root/i/starts.$1"; }
# since NAME I J: ms from start I to start J
between() { on 1 awk -v i="$2" -v j="$3" 'NR == i { a = $1 } NR == j { b = $1 } END { print int((b - a) * 1000 + 0.5) }' "/root/i/starts.$1"; }

ok 'all services start' wait_until 60 has_starts last 1
ok 'the list goes on only when what it waits for is there' \
    awk -v a="$(first_of first)" -v b="$(first_of last)" 'BEGIN { exit !(b - a >= 0.25) }'
ok 'a service that wants it starts again, and again' wait_until 60 has_starts again 11
took=$(between again 1 11)
ok "at once (10 restarts of 100 ms each in $took ms; with growing pauses they would take 12 s)" test "$took" -lt 6000
ok 'a service that keeps failing is started again' wait_until 60 has_starts crash 5
took=$(between crash 2 5)
ok "later each time (50, 100, 200 ms: $took)" test "$took" -ge 340
ok 'one that wants it without having run does not spin' test "$(between spin 1 5)" -ge 190
is 'services inherit no descriptors' "$(on 1 sh -c 'cat /root/i/fds | tr "\n" " "')" '0 1 2 3 '
# A process that has just ended is a zombie for a moment: one that stays would be the fault.
zombies() { lab exec n1 -- sh -c 'for p in /proc/[0-9]*; do grep -l "^State:.Z" $p/status 2>/dev/null; done | wc -l'; }
no_zombies() { [ "$(zombies)" = 0 ]; }
ok 'orphans are reaped' wait_until 20 no_zombies
kill "$init" 2>/dev/null
wait "$init" 2>/dev/null

done_testing
