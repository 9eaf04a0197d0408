#!/bin/bash
# How long a protected cell stands still for a checkpoint is bounded, whatever becomes of who takes it: criu is stopped in the middle
# of a dump, also with the job that started it stopped or killed. The client's connection is silent for the bound and a margin, the
# cell has all of its pages and none of criu's, the newest whole checkpoint stays, the next one comes, and one is gone on from.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

bound_ms=2000 margin_ms=500
stopped=19 killed=9 # signals
show() { json 1 "$2" skein guest show "$1"; }
newest() { show web '.protection.checkpoint.index // 0'; }
newer_than() { [ "$(newest)" -gt "$1" ]; }
log() { on 1 skein guest logs web; }
passes() { log | grep -c '^pass '; }
passes_beyond() { [ "$(passes)" -gt "$1" ]; }
reads_all() { wait_until 120 passes_beyond $(($(passes) + 1)); }
bad() { log | sed -n 's/^pass [0-9]*: [0-9]* pages, \([0-9]*\) bad$/\1/p' | sort -n | tail -n 1; }
client_log() { on 1 skein guest logs client; }
is_served() { client_log | grep -q connected; }
# longest_gap SINCE: for how long nothing was answered at most, since then (in ms)
longest_gap() { client_log | awk -v since="$1" '$1 >= since && / gap ms=/ { sub(/.* gap ms=/, ""); if ($1 + 0 > max) max = $1 + 0 } END { printf "%d", max }'; }
now_ms() { date +%s%3N; }
failed() { on "${node#n}" skein events -f json | jq -r 'select(.guest == "web" and .what == "guest-checkpoint-failed") | .text'; }
failed_more_than() { [ "$(failed | grep -c .)" -gt "$1" ]; }
# What a process is to its kernel: what it has mapped, what it blocks, who holds it; not which pages are there
likeness() { awk '{ print $1, $2, $6 }' "/proc/$1/maps"; grep -E '^(TracerPid|SigBlk|SigIgn|SigCgt|Threads):' "/proc/$1/status"; }
runs() { ! look_is_frozen "$1" && ! grep -q '^State:.[Tt]' "/proc/$1/status"; }
in_node() { on "${node#n}" "$@"; }
has_criu() { in_node pgrep criu; }
has_none() { ! has_criu; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
watch_machine
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
on 1 skein node cordon n1 >/dev/null
ok 'a cell of 24 MiB that checks itself' on 1 skein guest run web --image web --slice red --memory 64m -- /bin/counter 7000 24 4
on 1 skein node uncordon n1 >/dev/null
ok 'a client with one connection' on 1 skein guest run client --image web --slice red --memory 16m --on n1 -- /bin/count "$(show web .ip)" 7000
ok 'is served' wait_until 60 is_served
on 1 skein node cordon n1 >/dev/null
node=$(show web .node)
pid=$(look_processes counter | awk '{ print $2; exit }')
ok 'it reads its memory' reads_all
before=$(likeness "$pid")
ok 'it is protected' on 1 skein guest set web --protect 1s
ok 'its buddy has a checkpoint' wait_until 120 newer_than 0
buddy=$(show web .protection.buddy)

# A criu of the node's own: as long as /run/strike is there ("AT SIGNAL"), a dump is stopped; once, unless it says "again"
in_node sh -c 'cat >/usr/lib/stop-criu.so' <"$("$skein_root/deploy/build")/tests/lab/stop-criu.so"
in_node sh -c 'mv /usr/sbin/criu /usr/sbin/criu.real; cat >/usr/sbin/criu; chmod 755 /usr/sbin/criu' <<'S'
#!/bin/sh
if [ "$1" = dump ] && read -r at job times 2>/dev/null </run/strike; then
    [ "$times" = again ] || rm /run/strike
    export STOP_AT="$at" STOP_JOB="$job" LD_PRELOAD="/usr/lib/stop-criu.so:$LD_PRELOAD"
fi
exec /usr/sbin/criu.real "$@"
S
strike() { in_node sh -c 'rm -f /run/stopped; echo "$*" >/run/strike.new; mv /run/strike.new /run/strike' sh "$@"; }
was_struck() { in_node test -e /run/stopped; }
goes_on() { [ "$(longest_gap "$since")" -ge "$least_ms" ] && runs "$pid"; }
is_bounded() {
    echo "silent for $(longest_gap "$since") ms"
    [ "$(longest_gap "$since")" -le $((bound_ms + margin_ms)) ]
}

# struck WHAT AT [SIGNAL]: one dump is, and what becomes of it
struck() {
    local n=$(failed | grep -c .) since=$(now_ms) index text criu job least_ms=$((bound_ms - 100))
    echo "# $1"
    strike "$2" "${3:-0}"
    ok 'a dump is stopped in the middle' wait_until 60 was_struck || { failed; return 1; }
    read -r criu job <<<"$(in_node cat /run/stopped)"
    index=$(newest)
    [ "${3:-0}" != $killed ] || least_ms=0 # criu goes on at once, and then the guest
    ok 'the guest goes on by itself' wait_until 60 goes_on
    if [ "${3:-0}" = $stopped ]; then
        ok 'while the job stands still' in_node sh -c 'grep -q "^State:.T" "/proc/$0/status" && kill -CONT "$0"' "$job"
    fi
    ok 'the checkpoint counts as failed' wait_until 60 failed_more_than "$n"
    text=$(failed | tail -n 1)
    echo "# $text"
    if [ "${3:-0}" != $killed ]; then
        ok 'the events say how long it stood still' grep -q 'given up: it stood still for 2[0-9][0-9][0-9] ms' <<<"$text"
    fi
    ok 'the next checkpoint comes' wait_until 120 newer_than "$index"
    steady "its client heard nothing for $((bound_ms + margin_ms)) ms at most" is_bounded
    echo "# $(longest_gap "$since") ms"
    ok 'no criu is left' wait_until 60 has_none
}
struck 'criu, amid the pages' splice
struck 'criu, between two images' core-
struck 'criu, and who started it' splice $stopped
struck 'criu, and who started it, for good' splice $killed
becomes 'it is the process that it was' "$before" likeness "$pid" # not while another checkpoint is taken
is 'by the same connection' "$(client_log | grep -cE 'lost|served_again')" 0
ok 'it reads all of its memory' reads_all
is 'no page is wrong' "$(bad)" 0

# One after the other fails, and the node is lost
strike splice 0 again
failures() { [ "$(show web .protection.failures)" -ge 2 ]; }
ok 'one checkpoint after the other is stopped' wait_until 120 failures
index=$(newest)
ok 'and once more' wait_until 120 was_struck
is 'the newest whole one stays' "$(newest) $(show web .protection.checkpoint.node)" "$index $buddy"
before=$(passes)
lab kill "$node"
resumed() { [ "$(on 1 skein events -f json | jq 'select(.guest == "web" and .what == "failover") | .timeline.resumed')" = true ]; }
ok 'after a power-off it goes on from that' wait_until 120 resumed
becomes 'at its buddy' "$buddy" show web .node
ok 'it reads all of its memory' reads_all
is 'no page is wrong' "$(bad)" 0
served_again() { client_log | grep -q 'served_again.*connection=new'; }
ok 'the client is served again' wait_until 120 served_again
done_testing
