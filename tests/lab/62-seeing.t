#!/bin/bash
# What a user sees of links and silent nodes: a path that is cut is told from a death, counters grow in the right class,
# `top` on a terminal and elsewhere. Timers for long ways: n1 leads to the end, however busy this machine is.
# limit: 900
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

says() { on "$1" skein status | has -- "$2"; }
is_state() { [ "$(json 1 .state skein node show "$1")" = "$2" ]; }
# class NODE CLASS KEY: a counter of a class of the node's uplink
class() { json 1 ".uplink.classes[] | select(.class == \"$2\") | .$3" skein node show "$1"; }
is_measured() { [ "$(json 1 '[.[] | select(.uplink != null)] | length' skein node list)" = 3 ]; }
records() { on 1 skein events | grep -- " $1 " | tail -n 1 | has -- "$2"; }
draws() { on 3 skein node show n2 | has 'uplink out  *\[.*dddddddd'; }
# What `top` prints where there is no terminal
snapshot() { on 3 skein top >"$work/top" && grep -q "$1" "$work/top"; }
top_lines() { on 3 timeout 3 skein top -f json | jq -c '[.leader, (.nodes | length), (.guests | type)]' | sort -u; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"

# ---- links
ok 'every uplink is measured' wait_until 60 is_measured
becomes 'with the configured capacity' 100000 json 3 .uplink.capacity_kbps skein node show n2
becomes 'in four classes' 'control slices default bulk' json 3 '[.uplink.classes[].class] | join(" ")' skein node show n2
becomes 'another node asks the leader' n1 json 2 .heard_by skein node show n3
before=$(number class n2 control bytes)
grows() { [ "$(class n2 control bytes)" -gt "$before" ]; }
ok 'beats count as control' wait_until 60 grows

bulk=$(number class n1 bulk bytes)
size=$(stat -c %s "$work/web.tar")
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
# It went to two others; the archive may be packed on the way, so less than its size may have crossed.
bulk_grew() { [ "$(class n1 bulk bytes)" -gt $((bulk + size / 4)) ]; }
ok 'crosses as bulk' wait_until 60 bulk_grew
is 'without a drop in the control class' "$(number class n1 control drops)" 0

"$skein_root/deploy/lab" flood n2 200mbit 600 >"$work/flood" 2>&1 &
flood=$!
is_full() { [ "$(json 1 .backhaul_permille skein node show n2)" -gt 900 ]; }
ok 'a flood fills the uplink' wait_until 60 is_full
drops() { [ "$(class n2 default drops)" -gt 100 ]; }
ok 'drops in the default class' wait_until 60 drops
is 'and none in the control class' "$(number class n2 control drops)" 0
floods() { [ "$(class n2 default kbps)" -gt 80000 ]; }
ok 'the flood is in the default class' wait_until 60 floods
ok 'status says that the uplink is full' wait_until 60 says 3 'node n2: its uplink is 9\|node n2: its uplink is 100'
ok 'node show draws it' wait_until 60 draws

# ---- top
ok 'top prints one snapshot where there is no terminal' wait_until 60 snapshot '^n2 .*\[d*.*d\]\|^n2 .*\[.*dddd'
ok 'with the leader marked' wait_until 60 snapshot '^n1\* *up'
ok 'and no escape sequences' sh -c '! grep -q "$(printf "\033")" "$0"' "$work/top"
becomes 'as JSON one object a line' '["n1",3,"array"]' top_lines
is 'once: one line' "$(on 3 skein top --once -f json | wc -l)" 1

# A terminal of 100 columns: two seconds, then q; script(1) is the terminal.
cat >"$work/session" <<'S'
stty cols 100 rows 30
stty -g >/tmp/before
skein top
echo "ended $?" >/tmp/ended
stty -g >/tmp/after
S
on 3 sh -c 'cat >/tmp/session' <"$work/session"
mkfifo "$work/keys"
on 3 script -qc 'sh /tmp/session' /tmp/typescript <"$work/keys" >"$work/screen" &
session=$!
exec 5>"$work/keys"
drawn() { [ "$(grep -c 'leader n1' "$work/screen")" -ge 2 ]; }
ok 'top draws again and again' wait_until 60 drawn
ok 'on a screen of its own' wait_until 60 grep -q "$(printf '\033\\[?1049h')" "$work/screen"
ok 'with the flood in its colour' wait_until 60 grep -q "$(printf '\033\\[33md')" "$work/screen"
printf q >&5
ended() { on 3 test -s /tmp/after; }
ok 'q ends it' wait_until 60 ended
is 'with exit code 0' "$(on 3 cat /tmp/ended)" 'ended 0'
is 'and the terminal is as it was' "$(on 3 cat /tmp/after)" "$(on 3 cat /tmp/before)"
exec 5>&-
wait "$session"
ok 'its own screen is left' grep -q "$(printf '\033\\[?1049l')" "$work/screen"
widest=$(tr '\r' '\n' <"$work/screen" | sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g' | awk '{ if (length($0) > n) n = length($0) } END { print n }')
ok "no line is wider than the window ($widest)" test "$widest" -le 100
kill "$flood" 2>/dev/null
wait "$flood" 2>/dev/null

# ---- a path that is cut, seen by another
lab cut n2 --from n1
says_so() { says 3 'node n2.*n3 hears it: only its path to the leader n1 is down'; }
ok 'a cut path: status says who hears the node' wait_until 60 says_so
ok 'it is lost all the same: nothing is decided by that' wait_until 60 is_state n2 lost
becomes 'node show lists the answer' 'n3 true' json 3 '.heard_by_others[] | "\(.node) \(.heard)"' skein node show n2
ok 'the record of the loss says it' wait_until 60 records node-lost 'n3 hears it: only its path'
lab heal n2
ok 'it comes back' wait_until 60 is_state n2 up
quiet() { [ "$(json 1 .heard_by_others skein node show n2)" = null ]; }
ok 'and nobody is asked any more' wait_until 60 quiet

lab kill n2
dead() { says 3 'node n2.*n3 does not hear it either: dead or cut off'; }
ok 'a power-off: nobody hears it' wait_until 60 dead
ok 'it is lost' wait_until 60 is_state n2 lost
ok 'top says so' wait_until 60 snapshot '^n2 *lost'
done_testing
