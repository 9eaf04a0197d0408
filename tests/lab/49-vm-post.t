#!/bin/bash
# Post-copy of virtual machines: the machine goes on at the target while its memory follows, every byte of it, and how far that is
# is told. QEMU translates here (TCG). What becomes of it when something fails meanwhile: 49-vm-faults.
# limit: 900
. "$(dirname "$0")/lib.sh"
. "$scenarios/vm.sh"

# It looks at all of its memory, again and again, and says how many pages are not as they were left (counter.c).
passes() { here skein guest logs vm1 | sed -n 's/.*pass [0-9]*: [0-9]* pages, \([0-9]*\) bad.*/\1/p'; }
is_whole() { passes | awk '$1 > 0 { exit bad = 1 } END { exit bad || NR < 2 }'; }
moved() { here cat /tmp/moved | jq -r "$@"; }
is_gone() { ! on "$1" sh -c 'ls /run/skein/guests /var/lib/skein/guests 2>/dev/null' | grep -q vm1; }
# While it follows
shows() {
    json "$watcher" '.[0] | .step == "fetching" and (.progress | .done_bytes > 0 and .total_bytes > .done_bytes and .rate_kbps > 0 and .left_ms > 0)' \
        skein migration list | has -x true
}
# What was told of that, a line of JSON each time: in MiB, never less than before
told() { here cat /tmp/told | jq -rs '[.[] | .migration // empty | select(.step == "fetching") | .done_bytes / 1048576 | floor] | '"$1"; }

begin_vm $'#!/bin/sh\nexec /bin/counter 7000 48 16'
ok 'it looks at its memory' wait_until 180 is_whole

before=$(last_count)
becomes 'check says that it can' post-copy json "$watcher" .mode skein guest migrate vm1 --to "n$b" --mode post --check
here sh -c 'skein guest migrate vm1 --to n$0 --mode post --bandwidth 100mbit --timeout 300s -f json >/tmp/moved 2>/tmp/told' "$b" &
mover=$!
ok 'its memory follows, and how far is shown' wait_until 240 shows
ok 'it moves by post-copy' wait "$mover"
is 'which is what was done' "$(moved .mode)" post-copy
echo "# moved: $(moved -c .); MiB told while it followed: $(told '@text')"
is 'who waits was told how far its memory is' "$(told '(unique | length >= 3) and . == sort')" true
ok 'it runs at the target, and nowhere else' wait_until 120 runs_at "$b"
ok 'it counts on' wait_until 120 counts_on "$((before + 1))"
is 'over the same connection' "$(count_log | grep -c 'connection=new\|lost')" 0
ok 'all of its memory is there' wait_until 120 is_whole
ok 'nothing of it is left at the source' wait_until 60 is_gone "$a"
done_testing
