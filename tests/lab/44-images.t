#!/bin/bash
# Images on their way: a node that was away gets what it missed; its source dies halfway, and it goes on from another, from
# where it was. What an image is, and its bytes back out again.
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

size_mib=12
part_size() { on 3 sh -c 'stat -c %s /var/lib/skein/images/part-* 2>/dev/null || echo 0'; }
has_half() { has_source && [ "$(part_size)" -gt $((size / 2)) ]; }
holders() { json "${1:-1}" '.holders | join(" ")' skein image show web; }
all_have() { [ "$(holders "$1")" = 'n1 n2 n3' ]; }
state_of() { json "$1" .state skein node show "$2"; }
# Whom n3 gets it from.
source_of() { on 3 ss -Htn state established dport = :7402 | awk '{ print $4 }' | sed 's/.*10\.90\.0\.\([12]\):.*/\1/' | head -n 1; }
has_source() { source=$(source_of); [[ $source =~ ^[12]$ ]]; }
received() { on 3 cat /sys/class/net/eth0/statistics/rx_bytes; }
sum() { on "$1" sh -c "sha256sum <$2" | cut -d' ' -f1; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --backhaul 10mbit --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/plain.tar"
mkdir "$work/tree" && tar -xf "$work/plain.tar" -C "$work/tree" && head -c ${size_mib}M /dev/urandom >"$work/tree/noise"
tar -C "$work/tree" -cf "$work/web.tar" .
size=$(stat -c %s "$work/web.tar")
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"

lab kill n3
is_lost() { [ "$(state_of 1 n3)" = lost ]; }
ok 'a node is away' wait_until 60 is_lost
ok 'an image is added meanwhile' on 1 skein image add web /tmp/web.tar
is 'the others hold it' "$(holders)" 'n1 n2'

ok 'the node comes back' lab start n3
ok 'it fetches the image' wait_until 60 has_source
ok 'and has half of it' wait_until 60 has_half
other=$((3 - source)) before=$(received)
lab kill "n$source"
ok "its source n$source dies; it has all of it from n$other" wait_until 120 all_have "$other"
again=$(($(received) - before))
ok "and was sent only what was missing ($((again / 1000)) of $((size / 1000)) kB)" test "$again" -lt $((size * 3 / 4))
left() { on 3 sh -c 'ls /var/lib/skein/images | grep -c "part\|upload"'; }
is 'nothing unfinished is left' "$(left)" 0
ok 'the source comes back' lab start "n$source"

# ---- what it is, and out again
is_up() { [ "$(state_of 3 "n$source")" = up ]; }
ok 'and is up' wait_until 60 is_up
is 'show: format and size' "$(json 3 '"\(.format) \(.size_bytes)"' skein image show web)" "tar $size"
refused 'an image that is not there' 1 'no image .*nothing' on 3 skein image show nothing
ok 'export, on the node that got it last' on 3 skein image export web /tmp/out.tar
is 'gives the same bytes' "$(sum 3 /tmp/out.tar)" "$(sum 1 /tmp/web.tar 2>/dev/null || sha256sum <"$work/web.tar" | cut -d' ' -f1)"
refused 'over a file' 1 'already' on 3 skein image export web /tmp/out.tar
refused 'into no directory' 1 'No such file' on 3 skein image export web /nowhere/out.tar
is 'and nothing half-made stays' "$(on 3 sh -c 'ls /tmp | grep -c part-')" 0
on 3 sh -c 'f=$(ls /var/lib/skein/images | head -n 1); printf X | dd of=/var/lib/skein/images/$f conv=notrunc bs=1 seek=5000 status=none'
refused 'a damaged copy' 1 'another digest' on 3 skein image export web /tmp/bad.tar
is 'of which nothing stays' "$(on 3 sh -c 'ls /tmp/bad.tar* 2>/dev/null | wc -l')" 0
ok 'a guest uses it' on 3 skein guest run web --image web --on "n$other" -- /bin/sleep 3600
is 'show says so' "$(json 3 '.guests | join(" ")' skein image show web)" web
refused 'rm while a guest uses it' 1 'web' on 3 skein image rm web
is 'YAML' "$(on 3 skein image show web -f yaml | head -n 2 | tr '\n' ' ')" 'name: web format: tar '
is 'CSV' "$(on 3 skein image list -f csv | head -n 1 | tr -d '\r')" 'name,format,digest,size_bytes,copies,holders,guests,index'
done_testing
