#!/bin/bash
# Checkpoints that carry only what was written since the one before, in a board whose kernel says which pages were: of a protected
# cell of 64 MiB that checks all of its pages and writes 4 of them again and again; after the power-off of its node it goes on at its
# buddy from such an increment, with every page right.
# limit: 2400
. "$(dirname "$0")/../lib.sh"
. "$skein_root/deploy/look.sh"

protection() { json 1 ".protection$1" skein guest show web; }
passes() { on 1 skein guest logs web | grep -c "^pass .* $1 pages"; }
passes_beyond() { [ "$(passes "$1")" -gt "$2" ]; }
# Every page was read, since the call, of the memory that is written and of the one that is not.
reads_all() {
    local large small
    large=$(passes 15360) small=$(passes 1024)
    wait_until 300 passes_beyond 15360 $((large + 1)) && wait_until 300 passes_beyond 1024 $((small + 1))
}
bad() { on 1 skein guest logs web | sed -n 's/^pass [0-9]*: [0-9]* pages, \([0-9]*\) bad$/\1/p' | sort -n | tail -n 1; }
events() { on 1 skein events -f json | jq -c "select(.guest == \"web\") | $1"; }
# has OPERATOR NUMBER NAME: the newest checkpoint has so many increments behind a whole one; what it was goes to $work/NAME
has() {
    protection '.checkpoint | "\(.increments) \(.index) \(.sent_bytes) \(.size_bytes) \(.frozen_ms)"' >"$work/newest"
    [ "$(cut -d ' ' -f 1 "$work/newest")" "$1" "$2" ] && cp "$work/newest" "$work/$3"
}
sent() { cut -d ' ' -f 3 "$work/$1"; }
tell() { awk '{ print "# " $1 " increments behind a whole one: " $3 " bytes were sent, " $4 " are kept; it stood still for " $5 " ms" }' "$work/$1"; }

ok 'a cluster of three' lab up -n 3 $board_timers --join --backhaul 1000mbit || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' does 1 skein image add web /tmp/web.tar
ok 'n1 only answers' does 1 skein node cordon n1
ok 'a protected guest' does 1 skein guest run web --image web --memory 128m --protect 20s -- \
    /bin/sh -c '/bin/counter 7001 4 1 1 & exec /bin/counter 7000 60 0 2'
becomes 'runs' running state_of web
ok 'its buddy has a whole checkpoint' wait_until 300 has -eq 0 whole
tell whole
ok 'then an increment' wait_until 300 has -ge 1 one || bail "$(events 'select(.what | test("checkpoint|protect|buddy")) | "\(.what) \(.text)"' | tr '\n' ';')"
tell one
ok "of a fraction of the whole: $(sent one) of $(sent whole) bytes" test $((4 * $(sent one))) -lt "$(sent whole)"
ok 'and another' wait_until 300 has -ge 2 two
ok 'it reads all of its memory' reads_all
is 'and no page is wrong' "$(bad)" 0

node=$(number_of_node web) buddy=$(protection .buddy)
before=$(protection .checkpoint.index)
newer() { [ "$(protection .checkpoint.index)" -gt "$before" ] && has -ge 1 last; }
ok 'one more increment' wait_until 300 newer
tell last
passes=$(passes 15360)
lab kill "$node"
resumed() { [ -n "$(events 'select(.what == "failover")')" ]; }
ok 'after a power-off it comes back' wait_until 300 resumed
echo "# $(events 'select(.what == "failover") | .text')"
becomes 'at its buddy' "$buddy" node_of web
is 'from its checkpoint' "$(events 'select(.what == "failover") | .timeline.resumed')" true
lost_ms=$(events 'select(.what == "failover") | .timeline.lost_ms')
ok "with what was lost in ms: $lost_ms" test "${lost_ms:-0}" -gt 0
told() { on "${buddy#n}" skein events | grep 'guest-restored.*a whole one and [0-9]* increment' >"$work/restored"; }
ok 'which was an increment' wait_until 120 told
sed 's/^/# /' "$work/restored"
becomes 'it runs' running state_of web
ok 'it reads all of its memory' reads_all
is 'and no page is wrong' "$(bad)" 0
ok "it had gone on from what it was: passes of before are in its log ($passes, $(passes 15360))" test "$(passes 15360)" -ge "$passes"
one_runs() { [ "$(look_running counter | awk '{ print $1 }' | sort -u | wc -l)" = 1 ]; }
ok 'exactly one copy runs' wait_until 120 one_runs

ok 'n1 may be its buddy' does 1 skein node uncordon n1
ok 'which gets it whole at first' wait_until 300 has -eq 0 again
tell again
ok 'and then increments' wait_until 300 has -ge 1 next
done_testing
