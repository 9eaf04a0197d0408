#!/bin/bash
# Post-copy of virtual machines: the machine goes on at the target while its memory follows, every byte of it; and when its source
# loses power meanwhile it is started anew, once. QEMU translates here (TCG).
# limit: 1500
. "$(dirname "$0")/../lib.sh"
. "$scenarios/vm.sh"

# typed WORDS ANSWER: a command line for the console of the machine, which is left (Ctrl-]) when it has said ANSWER
typed() {
    (echo "$1"; wait_until 60 grep -q "$2" "$work/console"; printf '\035') | here skein guest console vm1 >"$work/console" 2>&1
    grep -q "$2" "$work/console"
}
fetches() { json "$watcher" '.[0].step' skein migration list | has -x fetching; }
moved() { here cat /tmp/moved | jq -r "$@"; }
is_gone() { ! on "$1" sh -c 'ls /run/skein/guests /var/lib/skein/guests 2>/dev/null' | grep -q vm1; }

# Memory that does not change and is looked at, and some that is written all the while
begin_vm $'#!/bin/sh
dd if=/dev/urandom of=/kept bs=1M count=16 2>/dev/null
sha256sum /kept >/kept.sum
(while :; do dd if=/dev/urandom of=/written bs=256k count=64 conv=notrunc 2>/dev/null; done) &
exec /bin/counter 7000'
is_whole() { typed 'sha256sum -c /kept.sum && echo whole-$((1 + 1))' whole-2; }
ok 'what it keeps in memory is there' wait_until 180 is_whole

before=$(last_count)
becomes 'check says that it can' post-copy json "$watcher" .mode skein guest migrate vm1 --to "n$b" --mode post --check
ok 'it moves by post-copy' here sh -c 'skein guest migrate vm1 --to n$0 --mode post --timeout 120s -f json >/tmp/moved' "$b"
is 'which is what was done' "$(moved .mode)" post-copy
echo "# moved: $(moved -c .)"
ok 'it runs at the target, and nowhere else' wait_until 120 runs_at "$b"
ok 'it counts on' wait_until 120 counts_on "$((before + 1))"
is 'over the same connection' "$(count_log | grep -c 'connection=new\|lost')" 0
ok 'all of its memory is there' wait_until 120 is_whole
ok 'nothing of it is left at the source' wait_until 60 is_gone "$a"

here skein guest migrate vm1 --to "n$a" --mode post --bandwidth 8mbit >/dev/null 2>&1 &
ok 'back, slowly: its memory follows' wait_until 240 fetches
before=$(last_count)
ok 'while it counts' wait_until 60 counts_on "$((before + 1))"
ok 'its source loses power' lab kill "n$b"
boots() { says 'boot [1-9][0-9]* of its disk' && [ "$(here skein guest logs vm1 | grep -c 'of its disk')" -ge 1 ] && [ "$(show .node)" != "n$b" ]; }
ok 'it is started anew' wait_until 300 boots
runs_once() { [ "$(look_processes $qemu | wc -l)" = 1 ]; }
ok 'once' wait_until 120 runs_once
ok 'no move is left' wait_until 60 equal "$(json "$watcher" length skein migration list)" 0
done_testing
