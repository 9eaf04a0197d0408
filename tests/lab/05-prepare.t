#!/bin/bash
# What the two commands of the README say where they cannot work: one clear line, exit code 1, nothing left behind.
# limit: 180
. "$(dirname "$0")/lib.sh"

# The checkout under a path that everybody may read, a small disk, and another system's name.
stage='mount --make-rprivate /; chmod 755 "$1"; mkdir -p "$1/src" "$1/small"
    mount --bind "$2" "$1/src"; mount -t tmpfs -o size=100m none "$1/small"; cd "$1"; shift 2'
ordinary='setpriv --reuid=65534 --regid=65534 --clear-groups'

# refuses NAME WORDS SCRIPT: SCRIPT (in the stage, in $work) fails with 1, its last line saying WORDS, and no new directory.
refuses() {
    local rc=0
    unshare --mount bash -c "$stage; $3; rc=\$?; [ -z \"\$(ls -A small)\" ] || echo left: small/*; exit \$rc" \
        stage "$work" "$skein_root" >"$work/said" 2>&1 || rc=$?
    is "$1: exit code" "$rc" 1
    if tail -n 1 "$work/said" | grep -q "$2"; then point ok "$1: says so"; else
        point no "$1: says so"; sed 's/^/#   /' "$work/said"
    fi
    if [ "$(wc -l <"$work/said")" -le 3 ]; then point ok "$1: briefly"; else point no "$1: briefly"; fi
}

for command in deploy/demo tests/run; do
    refuses "$command, no root and no sudo" 'needs root, and there is no sudo' \
        "PATH=/usr/bin:/bin; for s in /usr/bin/sudo; do [ ! -e \$s ] || mount --bind /dev/null \$s; done; $ordinary src/$command"
    refuses "$command, no namespaces" 'namespaces are not allowed' \
        "setpriv --bounding-set=-sys_admin --inh-caps=-all src/$command"
    refuses "$command, no room" 'not enough disk' "SKEIN_CACHE=\$PWD/small/cache src/$command"
    refuses "$command, another system" 'not Debian 12 or 13' \
        "printf 'ID=other\nVERSION_ID=1\n' >os; mount --bind os /etc/os-release; src/$command"
done
refuses 'no packages' 'no packages to be had' \
    'mount -o remount,size=4000m small; SKEIN_CACHE=$PWD/small/cache unshare --net src/deploy/image'

done_testing
