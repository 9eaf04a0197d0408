#!/bin/bash
# Post-copy of virtual machines: the machine goes on at the target while its memory follows, every byte of it, and how far that is
# is told. Then back by pre-copy over several connections at once, which is called off first. QEMU translates here (TCG). What becomes
# of it when something fails meanwhile: 49-vm-faults.
# limit: 900
. "$(dirname "$0")/lib.sh"
. "$scenarios/vm.sh"

# It looks at all of its memory, again and again, and says how many pages are not as they were left (counter.c).
passes() { here skein guest logs vm1 | sed -n 's/.*pass [0-9]*: [0-9]* pages, \([0-9]*\) bad.*/\1/p'; }
is_whole() { passes | awk '$1 > 0 { exit bad = 1 } END { exit bad || NR < 2 }'; }
last_pass() { here skein guest logs vm1 | sed -n 's/.*pass \([0-9]*\): .*/\1/p' | tail -n 1; }
# whole_since PASS: it was whole, also in one that began behind that of PASS + 1
whole_since() { is_whole && [ "$(last_pass)" -gt $(($1 + 1)) ]; }
moved() { here cat /tmp/moved | jq -r "$@"; }
is_gone() { ! on "$1" sh -c 'ls /run/skein/guests /var/lib/skein/guests 2>/dev/null' | grep -q vm1; }
# While it follows
shows() {
    json "$watcher" '.[0] | .step == "fetching" and (.progress | .done_bytes > 0 and .total_bytes > .done_bytes and .rate_kbps > 0 and .left_ms > 0)' \
        skein migration list | has -x true
}
# door_of NODE PROGRAM: how many connections of QEMU's state its end of the move there has, as the kernel lists them: accepted ones bear
# the door's name. At the source skein-vm listens, at the target QEMU.
door_of() {
    local pid
    pid=$(look_processes "$2" | awk -v node="n$1" '$1 == node { print $2; exit }')
    awk '$6 == "03" && $NF ~ /\/qemu\/memory$/' "/proc/$pid/net/unix" | wc -l
}
doors() { echo "$(door_of "$a" skein-vm) $(door_of "$b" "$qemu")"; }
# What was told of that, a line of JSON each time: in MiB, never less than before
told() { here cat /tmp/told | jq -rs '[.[] | .migration // empty | select(.step == "fetching") | .done_bytes / 1048576 | floor] | '"$1"; }

begin_vm $'#!/bin/sh\nexec /bin/counter 7000 48 16'
ok 'it looks at its memory' wait_until 180 is_whole

before=$(last_count)
becomes 'check says that it can' post-copy json "$watcher" .mode skein guest migrate vm1 --to "n$b" --mode post --check
here sh -c 'skein guest migrate vm1 --to n$0 --mode post --bandwidth 100mbit --timeout 300s -f json >/tmp/moved 2>/tmp/told' "$b" &
mover=$!
ok 'its memory follows, and how far is shown' wait_until 240 shows
is 'by one connection, and another one for pages that are asked for' "$(doors)" '2 2'
ok 'it moves by post-copy' wait "$mover"
is 'which is what was done' "$(moved .mode)" post-copy
echo "# moved: $(moved -c .); MiB told while it followed: $(told '@text')"
is 'who waits was told how far its memory is' "$(told '(unique | length >= 3) and . == sort')" true
ok 'it runs at the target, and nowhere else' wait_until 120 runs_at "$b"
ok 'it counts on' wait_until 120 counts_on "$((before + 1))"
is 'over the same connection' "$(count_log | grep -c 'connection=new\|lost')" 0
ok 'all of its memory is there' wait_until 120 is_whole
ok 'nothing of it is left at the source' wait_until 60 is_gone "$a"

# ---- back, by four connections and QEMU's first one

k=$a a=$b b=$k
by() { here skein guest migrate vm1 --to "n$b" --connections "$@"; }
refused 'more than there can be' 2 'connections' by 9 --mode pre
refused 'none' 2 'connections' by 0 --mode pre
refused 'what is no number' 2 'connections' by four --mode pre
refused 'with the mode left open' 2 'mode pre only' by 4
refused 'with post-copy' 2 'mode pre only' by 4 --mode post
refused 'with stop-and-copy' 2 'mode pre only' by 4 --mode stop
refused 'a check of that' 2 'mode pre only' by 4 --mode post --check
refused 'a cell' 1 'is no vm' here skein guest migrate client --mode pre --connections 4
of_a_cell() { json "$watcher" '.verdict, (.reasons[] | select(.severity == "obstacle") | .code)' skein guest migrate client --mode pre --connections 4 --check; }
ok 'and so says its check' eval 'of_a_cell | has -x impossible && of_a_cell | has -x connections'
becomes 'check says that it can' 'possible pre-copy' json "$watcher" '"\(.verdict) \(.mode)"' skein guest migrate vm1 --to "n$b" --mode pre --connections 4 --check
is 'nothing has begun' "$(json "$watcher" length skein migration list) $(show .node)" "0 n$a"

here skein guest migrate vm1 --to "n$b" --mode pre --connections 4 --bandwidth 8mbit >/dev/null 2>"$work/told" &
mover=$!
ok 'it begins by four' wait_until 240 copies_some
is 'as the list says' "$(json "$watcher" '.[0].terms | "\(.mode) \(.connections)"' skein migration list)" 'pre 4'
is 'QEMU has four connections beside its first' "$(doors)" '5 5'
before=$(last_count) pass=$(number last_pass)
ok 'cancelled amid the copy' here skein migration cancel "$(json "$watcher" '.[0].id' skein migration list)"
fails 'who waits hears of it' wait "$mover"
ok 'it goes on where it was' wait_until 120 counts_on "$((before + 200))"
ok 'and nowhere else' wait_until 120 runs_at "$a"
is 'over the same connection' "$(count_log | grep 'connection=new\|lost')" ''
ok 'with all of its memory' wait_until 180 whole_since "$pass"
ok 'nothing of it is left at the target' wait_until 60 is_gone "$b"

before=$(last_count) pass=$(number last_pass) most=0
here sh -c 'skein guest migrate vm1 --to n$0 --mode pre --connections 4 --timeout 300s -f json >/tmp/moved 2>/tmp/told' "$b" &
mover=$!
while kill -0 "$mover" 2>/dev/null; do
    seen=$(door_of "$a" skein-vm 2>/dev/null)
    most=$((seen > most ? seen : most))
done
ok 'it moves by four' wait "$mover"
is 'and did so' "$most" 5
is 'pre-copy is what was done' "$(moved .mode)" pre-copy
echo "# moved: $(moved -c .)"
ok 'it runs at the target, and nowhere else' wait_until 120 runs_at "$b"
ok 'it counts on' wait_until 120 counts_on "$((before + 1))"
is 'over the same connection' "$(count_log | grep 'connection=new\|lost')" ''
ok 'all of its memory is there' wait_until 180 whole_since "$pass"
ok 'nothing of it is left at the source' wait_until 60 is_gone "$a"
done_testing
