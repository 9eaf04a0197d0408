#!/bin/bash
# Images: every format that is taken, every bad one named, and nothing changed by it.
# limit: 120
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

put() { on "$1" sh -c "cat >$2"; }
add() { on 1 skein image add "$@"; }
format_of() { json 1 ".[] | select(.name == \"$1\") | .format" skein image list; }
n_images() { json 1 length skein image list; }
says() { on 1 skein guest exec "$1" -- /bin/cat "$2"; }
run() { on 1 skein guest run "$@"; }
bad() { refused "$1" 1 "$2" add bad "/tmp/$3"; }

ok 'a cluster of two' lab up -n 2 --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/plain.tar"
mkdir "$work/tree" && tar -xf "$work/plain.tar" -C "$work/tree" && echo from-the-tree >"$work/tree/mark"
tar -C "$work/tree" -cf "$work/web.tar" .
put 1 /tmp/web.tar <"$work/web.tar"
zstd -q "$work/web.tar" && put 1 /tmp/web.tar.zst <"$work/web.tar.zst"
xz -k "$work/web.tar" && put 1 /tmp/web.tar.xz <"$work/web.tar.xz"
on 1 sh -ec '
    cd /tmp
    mkdir tree && tar -xf web.tar -C tree && head -c 30000 web.tar.zst >short.tar.zst
    mksquashfs tree web.squashfs -quiet -no-progress -all-root
    head -c 20000 web.squashfs >short.squashfs
    tar -cPf out.tar ../etc/hostname; tar -cPf absolute.tar /etc/hostname
    mkdir trap && ln -s /etc trap/l && tar -C trap -cf link.tar l && rm trap/l && mkdir trap/l && echo x >trap/l/x
    tar -C trap -rf link.tar l/x
    mknod trap/disk b 7 0 && tar -C trap -cf device.tar disk
    qemu-img create -q -f qcow2 base.qcow2 1M && qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2
    head -c 50 base.qcow2 >short.qcow2
    head -c 100000 /dev/urandom >noise; ln -s /etc/hostname hostname-link' || bail 'no images to add'

bad 'noise' 'none of tar' noise
bad 'a truncated tar.zst' 'broken\|truncated' short.tar.zst
bad 'an xz' 'xz' web.tar.xz
bad 'a tar that climbs out' 'reaches out' out.tar
bad 'a tar with absolute names' "reaches out.*'/etc/hostname'" absolute.tar
bad 'a tar with a file below its own link' 'below a symbolic link' link.tar
bad 'a tar with a disk in it' 'device node' device.tar
bad 'a truncated squashfs' 'truncated' short.squashfs
bad 'a qcow2 over another' 'backing file' over.qcow2
bad 'a truncated qcow2' 'truncated' short.qcow2
is 'none of them is there' "$(n_images)" 0
left() { on "$1" sh -c 'ls /var/lib/skein/images /var/lib/skein/roots 2>/dev/null | grep -c "[0-9a-f]\{64\}\|upload"'; }
is 'and none left anything' "$(left 1) $(left 2)" '0 0'

ok 'a tar.zst' add zst /tmp/web.tar.zst
ok 'a squashfs' add squash /tmp/web.squashfs
ok 'a qcow2' add disk /tmp/base.qcow2
is 'their formats' "$(format_of zst) $(format_of squash) $(format_of disk)" 'tar squashfs qcow2'
for image in zst squash; do
    ok "a guest of $image" run "of-$image" --image "$image" --on n2 -- /bin/sleep 3600
    is 'sees its files' "$(says "of-$image" /mark)" from-the-tree
done
can_write() { on 1 skein guest exec of-squash -- /bin/sh -c 'echo mine >/mark && cat /mark'; }
is 'and writes to a layer of its own' "$(can_write)" mine
ok 'another guest of the squashfs' run twin --image squash --on n2 -- /bin/sleep 3600
is 'has the original' "$(says twin /mark)" from-the-tree
refused 'a cell of a disk' 1 'disk.*qcow2' run cell --image disk -- /bin/true
in_use() { on 2 sh -c 'grep -c "squashfs" /proc/mounts'; }
for guest in of-squash twin; do ok "stop and rm $guest" on 1 sh -c "skein guest stop $guest && skein guest rm $guest"; done
ok 'the squashfs goes' on 1 skein image rm squash
is_gone() { on 2 sh -c '! grep -q squashfs /proc/mounts && ! ls /var/lib/skein/roots | grep -q squashfs'; }
ok 'and its mount and copy with it' wait_until 5 is_gone
done_testing
