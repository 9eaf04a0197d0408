#!/bin/bash
# Images by need: one copy, fetched where a guest goes, kept there until its room is wanted, and never the last one dropped.
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

holders() { json 1 '.holders | join(" ")' skein image show "$1"; }
on_disk() { on "$1" sh -c 'ls /var/lib/skein/images | grep -c "^[0-9a-f]\{64\}$"'; }
holds() { [ "$(holders "$1")" = "$2" ]; }
# make NAME MIB: an archive /tmp/NAME.tar on n1
make() {
    head -c "$2M" /dev/urandom >"$work/tree/noise"
    tar -C "$work/tree" -cf "$work/$1.tar" . && on 1 sh -c "cat >/tmp/$1.tar" <"$work/$1.tar"
}

ok 'a cluster of three, 24 MiB for images' lab up -n 3 --conf profile=wan --conf image_disk=24m --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/plain.tar"
mkdir "$work/tree" && tar -xf "$work/plain.tar" -C "$work/tree"
make one 4
make two 4
make big 14

ok 'an image with one copy' on 1 skein image add one /tmp/one.tar --copies 1
is 'is where it was added' "$(holders one)" n1
is 'and nowhere else' "$(on_disk 2) $(on_disk 3)" '0 0'
is 'show says so' "$(json 1 .copies skein image show one)" 1
refused 'no copies' 2 'copies' on 1 skein image add bad /tmp/one.tar --copies 0

plan() { on 1 skein guest plan web --image one -f json -- /bin/sleep 3600 | jq -r .chosen; }
becomes 'a guest would go to the node that has it' n1 plan
ok 'but may go elsewhere: it is fetched first' on 1 skein guest run web --image one --on n3 -- /bin/sleep 3600
runs_on() { look_processes sleep | awk '{ print $1 }'; }
becomes 'and runs there' n3 runs_on
ok 'where there is a copy now' wait_until 60 holds one 'n1 n3'

ok 'two copies of another' on 1 skein image add two /tmp/two.tar --copies 2
is 'are on two nodes when it returns' "$(holders two | wc -w)" 2

# The node that took the guest goes: nothing of the image is left for n3 to keep.
refused 'rm while it is used' 1 'web' on 1 skein image rm one
is 'nothing to drop while the guest is there' "$(json 1 .released skein image gc)" 0
ok 'the guest ends' on 1 sh -c 'skein guest stop web && skein guest rm web'
is 'its copy stays for the next start' "$(holders one)" 'n1 n3'

# Over its limit, the node drops what is more than its image needs.
ok 'a large image for all' on 1 skein image add big /tmp/big.tar
ok 'the copy that nobody needs makes room' wait_until 120 holds one n1
told() { on 1 skein events | grep ' image-release ' | grep -q 'n3.*one: 1 copy was more than it needs'; }
ok 'events tell it' wait_until 60 told
digest=$(json 1 .digest skein image show one)
dropped() { on 3 test ! -e "/var/lib/skein/images/$digest"; }
ok 'and its file is gone' wait_until 60 dropped
is 'the last copy stays, limit or not' "$(holders one)" n1
says() { on 1 skein status | grep -q 'node n1: images take .* allowed'; }
ok 'status says that n1 is over its limit' wait_until 60 says

# Dropped on request; a holder that is lost is replaced.
ok 'a guest of it again' on 1 skein guest run web --image one --on n2 -- /bin/sleep 3600
ok 'which ends' on 1 sh -c 'skein guest stop web && skein guest rm web'
gone() { [ "$(holders one)" = n1 ]; }
ok 'gc' on 1 skein image gc
ok 'leaves one copy' wait_until 60 gone
second=$(holders two | tr ' ' '\n' | grep -v n1 | head -n 1)
lab kill "$second"
replaced() { [ "$(json 1 '[.holders[] | select(. != "'"$second"'")] | length' skein image show two)" = 2 ]; }
ok "a holder ($second) dies: another node gets its copy" wait_until 120 replaced
done_testing
