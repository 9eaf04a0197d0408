#!/bin/bash
# Images: every format that is taken, every bad one named, and nothing changed by it.
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

put() { on "$1" sh -c "cat >$2"; }
add() { on 1 skein image add "$@"; }
format_of() { json 1 ".[] | select(.name == \"$1\") | .format" skein image list; }
n_images() { json 1 length skein image list; }
says() { on 1 skein guest exec "$1" -- /bin/cat "$2"; }
run() { on 1 skein guest run "$@"; }
bad() { refused "$1" 1 "$2" add bad "/tmp/$3"; }

ok 'a cluster of two' lab up -n 2 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/plain.tar"
mkdir "$work/tree" && tar -xf "$work/plain.tar" -C "$work/tree" && echo from-the-tree >"$work/tree/mark"
tar -C "$work/tree" -cf "$work/web.tar" .
put 1 /tmp/web.tar <"$work/web.tar"
on 1 sh -ec '
    cd /tmp
    zstd -q web.tar && xz -k web.tar
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
    becomes 'sees its files' from-the-tree says "of-$image" /mark
done
can_write() { on 1 skein guest exec of-squash -- /bin/sh -c 'echo mine >/mark && cat /mark'; }
becomes 'and writes to a layer of its own' mine can_write
ok 'another guest of the squashfs' run twin --image squash --on n2 -- /bin/sleep 3600
becomes 'has the original' from-the-tree says twin /mark
refused 'a cell of a disk' 1 'disk.*qcow2' run cell --image disk -- /bin/true

# A directory and OCI layouts
on 1 sh -ec 'cd /tmp && mkdir dir && cp -a tree/. dir && echo from-a-directory >dir/mark && ln dir/mark dir/twin'
ok 'a directory' add dir /tmp/dir
ok 'a guest of it' run of-dir --image dir --on n2 -- /bin/sleep 3600
linked() { on 1 skein guest exec of-dir -- /bin/sh -c 'cat /twin; stat -c %h /mark' | tr '\n' ' '; }
becomes 'sees its files, links kept' 'from-a-directory 2 ' linked
# lay NAME: a layout of two layers; the upper one hides /hidden and all in /opaque, and changes /mark
cat >"$work/lay" <<'LAY'
set -e
cd /tmp && rm -rf lower upper "$1" && mkdir -p lower/opaque upper/opaque lower/srv "$1/blobs/sha256"
cp -a tree/. lower && echo low >lower/mark && echo x >lower/hidden && echo x >lower/opaque/below && ln lower/hidden lower/kept
mkdir -p lower/etc && echo 'web:x:33:44::/:/bin/sh' >lower/etc/passwd
echo high >upper/mark && : >upper/.wh.hidden && : >upper/opaque/.wh..wh..opq && echo y >upper/opaque/new
blob() { set -- "$1" "$(sha256sum <"$2" | cut -d' ' -f1)" "$2"; cp "$3" "$1/blobs/sha256/$2"; printf '"digest":"sha256:%s","size":%s' "$2" "$(stat -c %s "$3")"; }
tar -C lower -cf l0.tar . && tar -C upper -czf l1.tar.gz .
echo '{"architecture":"'"$2"'","os":"linux","config":{"Env":["GREETING=from-the-image"],"Entrypoint":["/bin/sh","-c"],"Cmd":["echo $GREETING; id -u; pwd; exec sleep 3600"],"WorkingDir":"/srv","User":"web"}}' >config
l=application/vnd.oci.image.layer.v1.tar
echo '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json",'$(blob $1 config)'},"layers":[{"mediaType":"'$l'",'$(blob $1 l0.tar)'},{"mediaType":"'$l${3:-+gzip}'",'$(blob $1 l1.tar.gz)'}]}' >manifest
echo '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",'$(blob $1 manifest)',"annotations":{"org.opencontainers.image.ref.name":"v1"}}]}' >$1/index.json
echo '{"imageLayoutVersion":"1.0.0"}' >$1/oci-layout
LAY
put 1 /tmp/lay <"$work/lay"
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
for layout in oci missing damaged; do on 1 sh /tmp/lay "$layout" "$arch"; done
on 1 sh /tmp/lay foreign s390x
on 1 sh /tmp/lay strange "$arch" +lzma
on 1 sh -ec 'cd /tmp && layer() { echo $1/blobs/sha256/$(sha256sum <l1.tar.gz | cut -d" " -f1); }
    sh /tmp/lay missing '"$arch"' && rm "$(layer missing)" && sh /tmp/lay damaged '"$arch"' &&
    printf X | dd of="$(layer damaged)" conv=notrunc bs=1 seek=20 status=none'
bad 'an OCI image without its upper layer' 'layer 2 of 2 is missing' missing
bad 'an OCI image whose layer is damaged' 'layer 2 of 2 is damaged' damaged
bad 'an OCI image for another machine' 's390x' foreign
bad 'an OCI image with a strange layer' 'unsupported media type.*lzma' strange
refused 'a tag that is not there' 1 "no image 'v2'.*v1" add bad /tmp/oci --tag v2
is 'none of them is there' "$(n_images)" 4
ok 'an OCI layout' add oci /tmp/oci --tag v1
ok 'a guest of it, told nothing' run of-oci --image oci --on n2
has_words() { [ "$(on 1 skein guest logs of-oci | head -n 3 | tr '\n' ' ')" = 'from-the-image 33 /srv ' ]; }
ok "runs the image's command, as its user, in its directory, with its variables" wait_until 60 has_words
root_of() { on 1 skein guest exec of-oci -- /bin/sh -c 'cat /mark; cat /kept; ls /opaque; ls /hidden 2>&1 | grep -c "No such"' | tr '\n' ' '; }
becomes 'whiteouts hide, links keep' 'high x new 1 ' root_of
who() { on 1 skein guest exec of-oci -- /bin/sh -c 'id -u; pwd' | tr '\n' ' '; }
becomes 'exec runs as that user too' '33 /srv ' who

for guest in of-squash twin; do ok "stop and rm $guest" on 1 sh -c "skein guest stop $guest && skein guest rm $guest"; done
ok 'the squashfs goes' on 1 skein image rm squash
is_gone() { on 2 sh -c '! grep -q squashfs /proc/mounts && ! ls /var/lib/skein/roots | grep -q squashfs'; }
ok 'and its mount and copy with it' wait_until 60 is_gone
done_testing
