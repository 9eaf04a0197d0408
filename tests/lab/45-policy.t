#!/bin/bash
# Policies: health checks by tcp and by a command, one that hangs, crash loops, bad input.
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

run() { on 1 skein guest run "$@"; }
show() { json 1 "$2" skein guest show "$1"; }
is_health() { [ "$(show "$1" .health)" = "$2" ]; }
has_starts() { [ "$(show "$1" '.starts // 0')" -ge "$2" ]; }
inside() { on 1 skein guest exec "$@"; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24

# What is refused
refused 'a check of no known kind' 2 'tcp:PORT' run a --image web --health http:80 -- /bin/true
refused 'a port that is none' 2 'port' run a --image web --health tcp:70000 -- /bin/true
refused 'a command that is none' 2 'exec' run a --image web --health exec: -- /bin/true
refused 'an interval of nothing' 2 '--health-interval' run a --image web --health tcp:80 --health-interval 1ms -- /bin/true
refused 'no retries' 2 '--health-retries' run a --image web --health tcp:80 --health-retries 0 -- /bin/true
refused 'times without a check' 2 'health' run a --image web --health-timeout 1s -- /bin/true
is 'nothing of these is there' "$(json 1 length skein guest list)" 0

# A connection
ok 'a guest that is asked for a connection' run web --image web --slice red --health tcp:7000 \
    --health-interval 300ms --health-timeout 5s --health-retries 3 -- /bin/counter 7000
ok 'is healthy' wait_until 60 is_health web healthy
node=$(show web .node) epoch=$(show web .epoch)
ok 'one that does not listen' run deaf --image web --slice red --health tcp:7000 --health-interval 300ms \
    --health-retries 2 -- /bin/sleep 3600
ok 'is started again' wait_until 60 has_starts deaf 2
events_say() { on "$(show "$1" .node | tr -d n)" skein events -f json | grep -q "guest-unhealthy.*$2"; }
ok 'the events say why' wait_until 60 events_say deaf 'refused'
warned() { json 1 '.warnings[]' skein status | grep -q "$1"; }
ok 'status warns of the loop that it is in' wait_until 60 warned 'deaf is in a crash loop'
says_when() { [ "$(show deaf '.state == "restarting" and .next_start_ms > 0 and .ends_lately >= 3')" = true ]; }
ok 'and show says when it goes on' wait_until 60 says_when
becomes 'the healthy one went on' "$node $epoch 1" show web '"\(.node) \(.epoch) \(.starts)"'
ok 'stop it' on 1 skein guest stop deaf

# A command
ok 'a guest with a check of its own' run sick --image web --health "exec:/bin/sh -c 'test ! -f /sick'" \
    --health-interval 300ms --health-retries 2 -- /bin/sh -c 'rm -f /sick /hang; exec sleep 3600'
ok 'is healthy' wait_until 60 is_health sick healthy
where=$(show sick '"\(.node) \(.epoch)"')
ok 'it falls ill' wait_until 60 inside sick -- /bin/touch /sick
ok 'and starts again' wait_until 60 has_starts sick 2
becomes 'in its place' "$where" show sick '"\(.node) \(.epoch)"'
ok 'healthy' wait_until 60 is_health sick healthy

# One that hangs
ok 'a check that hangs' run hung --image web --health "exec:/bin/sh -c 'if test -f /hang; then sleep 7654; fi'" \
    --health-interval 300ms --health-timeout 300ms --health-retries 3 -- /bin/sh -c 'rm -f /hang; exec sleep 3600'
ok 'is healthy while it does not' wait_until 60 is_health hung healthy
ok 'it hangs' wait_until 60 inside hung -- /bin/touch /hang
ok 'and the guest starts again' wait_until 60 has_starts hung 2
ok 'healthy' wait_until 60 is_health hung healthy
ok 'one that may fail for long' run long --image web --health "exec:/bin/sh -c 'sleep 7654; true'" \
    --health-interval 300ms --health-timeout 300ms --health-retries 1000 -- /bin/sleep 3600
fails_often() { [ "$(show long '.health_failures >= 4 and .starts == 1')" = true ]; }
ok 'its check fails again and again' wait_until 60 fails_often
# The pid of init excepted, a guest of one process holds its command and at most the check under way (sh and sleep).
n_sleeps() { on 1 skein guest exec long -- /bin/ps -o args | grep -c '^sleep 7654' || true; }
few_sleeps() { [ "$(n_sleeps)" -le 1 ]; }
ok 'and no check is left but the one under way' wait_until 60 few_sleeps

# Restarts of the daemons
n=${where#n} n=${n%% *}
ok 'skeind is killed' on "$n" pkill -9 -x skeind
ok 'the check goes on' wait_until 60 is_health sick healthy
starts=$(show sick .starts)
ok 'it falls ill again' wait_until 60 inside sick -- /bin/touch /sick
ok 'and starts again' wait_until 60 has_starts sick "$((starts + 1))"
done_testing
