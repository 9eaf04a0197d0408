#!/bin/bash
# Virtual machines move while they run, with memory and disk, by libvirt over our own streams; and what a death in the
# middle of it leaves. QEMU translates here (TCG).
# limit: 1500
. "$(dirname "$0")/lib.sh"
. "$scenarios/vm.sh"

# typed WORDS ANSWER: a command line for the console of the VM, which is left (Ctrl-]) when it has said ANSWER
typed() {
    (echo "$1"; wait_until 20 grep -q "$2" "$work/console"; printf '\035') | here skein guest console vm1 >"$work/console" 2>&1
    grep -q "$2" "$work/console"
}
# What the disk itself holds behind the first sector: the cache is dropped before.
disk_holds() {
    typed 'echo 3 >/proc/sys/vm/drop_caches; echo disk-$(dd if=/dev/vda bs=512 skip=1 count=1 2>/dev/null | head -c 8)' "disk-$1"
}

begin_vm $'#!/bin/sh\nprintf before-- | dd of=/dev/vda bs=512 seek=1 conv=fsync 2>/dev/null\nexec /bin/counter 7000'
ok 'its disk was written' wait_until 120 disk_holds before--

# Paused all the while; from here on the other node is its home
ok 'a move that pauses it' here sh -c 'skein guest migrate vm1 --to n$0 --mode stop -f json >/tmp/moved' "$b"
is 'stop-and-copy is what was done' "$(here jq -r .mode /tmp/moved)" stop-and-copy
k=$a a=$b b=$k
ok 'it runs there' wait_until 120 runs_at "$a"

# There, and back by a drain
before=$(last_count) known=$(count_log | wc -l)
ok 'check says that it can be moved' here sh -c 'skein guest migrate vm1 --to n$0 --check -f json | jq -e ".verdict == \"possible\""' "$b"
ok 'move' here skein guest migrate vm1 --to "n$b"
ok 'it runs at the target, and nowhere else' wait_until 120 runs_at "$b"
becomes 'as the state says' "n$b" show .node
ok 'it counts on' wait_until 120 counts_on "$((before + 1))"
is 'over the same connection' "$(count_log | grep -c 'connection=new\|lost')" 0
echo "# blackout for the client: $(count_log | tail -n "+$((known + 1))" | sed -n 's/.* gap ms=\([0-9.]*\).*/\1/p' | sort -n | tail -n 1) ms"
ok 'with its disk' wait_until 120 disk_holds before--
is_gone() { ! on "$a" sh -c 'ls /run/skein/guests /var/lib/skein/guests 2>/dev/null' | grep -q vm1; }
ok 'nothing of it is left at the source' wait_until 120 is_gone
writes() { typed 'printf after--- | dd of=/dev/vda bs=512 seek=1 conv=fsync 2>/dev/null; echo written-$((1 + 1))' written-2 && disk_holds after---; }
ok 'it writes there' wait_until 120 writes
here skein node cordon "n$watcher" >/dev/null
becomes 'a drain would move it' "vm1 true n$a" json "$watcher" '.guests[] | "\(.guest) \(.goes) \(.to)"' skein node drain "n$b" --dry-run
ok 'and does' here skein node drain "n$b" --timeout 600s
ok 'the drain ends' here skein node undrain "n$b"
here skein node uncordon "n$watcher" >/dev/null
ok 'it runs there' wait_until 120 runs_at "$a"
ok 'with what it wrote meanwhile' wait_until 120 disk_holds after---

# Deaths on the way; the copy is slowed down, so that it is under way
moves_slowly() { here skein guest migrate vm1 --to "n$b" --bandwidth 8mbit >/dev/null 2>&1 & }
before=$(last_count)
moves_slowly
ok 'a move begins, and says how far it is' wait_until 120 copies_some
ok 'the target loses power' lab kill "n$b"
ok 'the machine goes on at the source' wait_until 120 counts_on "$((before + 200))"
ok 'once' wait_until 120 runs_at "$a"
is 'with its connection' "$(count_log | grep -c 'connection=new\|lost')" 0
ok 'and its disk' wait_until 120 disk_holds after---
ok 'the target is back' lab start "n$b"
becomes 'and in the cluster' up json "$watcher" .state skein node show "n$b"
becomes 'no move is left' 0 json "$watcher" length skein migration list
moves_slowly
ok 'another one begins' wait_until 120 copies_some
ok 'the source loses power before the commit' lab kill "n$a"
runs_anew() { runs_at "$b" || runs_at "$watcher"; }
boots() { says 'boot 1 of its disk' && [ "$(show .node)" != "n$a" ]; }
ok 'it is started anew elsewhere' wait_until 300 boots
ok 'once' wait_until 120 runs_anew
done_testing
