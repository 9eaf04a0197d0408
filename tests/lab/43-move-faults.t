#!/bin/bash
# A move is disturbed at each of its steps: the guest runs once afterwards, with its state (memory, and a volume) wherever the law
# of moving keeps it, `events` says what happened, and nothing half-made stays. A criu of the node's own (a script before the real
# one) holds a move at a step, or fails there; then a node, a daemon or a link of the source, the target or the leader is struck.
# MOVE_FAULTS=all strikes everybody everywhere, MOVE_FAULTS='STEP WHO DEED' once so; without it each kind of fault comes once.
# MOVE_KIND=lxc does so to a container by liblxc.
# Leases are long, so that a node is lost only when it is struck; where this machine starves one nevertheless, the case is tried again.
# limit: 3600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

# ---- what can be done to a move

# criu of the nodes: /run/criu-fault says "dump|restore before|after hold|fail|damage".
put_criu() {
    on "$1" sh -c '[ -e /usr/sbin/criu.real ] || mv /usr/sbin/criu /usr/sbin/criu.real; cat >/usr/sbin/criu; chmod 755 /usr/sbin/criu' <<'S'
#!/bin/sh
what= when= deed=
[ ! -e /run/criu-fault ] || read -r what when deed </run/criu-fault
disturb() {
    case $deed in
        hold) : >/run/criu-held; while [ -e /run/criu-fault ]; do sleep 0.01; done ;;
        fail) echo '(00.1) Error (criu/fault.c:1): it was made to fail' >"$images/$what.log"; exit 1 ;;
        damage) for image in "$images"/core-*.img; do echo damage | dd of="$image" bs=1 seek=20 conv=notrunc; done 2>/dev/null ;;
    esac
}
[ "$1" = "$what" ] || exec /usr/sbin/criu.real "$@"
images=$3
[ "$when" != before ] || disturb
/usr/sbin/criu.real "$@"
rc=$?
[ "$when" != after ] || disturb
exit $rc
S
}
disturb() { on "${1#n}" sh -c 'rm -f /run/criu-held; echo "$*" >/run/criu-fault' sh "${@:2}"; }
is_held() { on "${1#n}" test -e /run/criu-held; }
let_go() { on "${1#n}" rm -f /run/criu-fault 2>/dev/null; }
signal() { on "${1#n}" sh -c 'kill -"$0" "$(cat "$1")"' "$2" "$3"; }

# hold STEP: the next move stops there
hold() {
    case $1 in
        preparing) signal "$target" STOP /run/openvswitch/ovsdb-server.pid ;;
        copying) disturb "$source" dump before hold ;;
        copied) disturb "$source" dump after hold ;;
        committed) disturb "$target" restore before hold ;;
        restored) disturb "$target" restore after hold ;;
    esac
}
step_of() { asked '.[0].step // ""' migration list; }
is_at() {
    case $1 in
        preparing) [ "$(step_of)" = preparing ] ;;
        copying | copied) is_held "$source" ;;
        committed) is_held "$target" && [ "$(step_of)" = committed ] ;;    # it stands by from before
        *) is_held "$target" ;;
    esac
}
release() {
    let_go "$source"
    let_go "$target"
    signal "$target" CONT /run/openvswitch/ovsdb-server.pid
} 2>/dev/null

# strike WHO DEED
strike() {
    case $2 in
        power) lab kill "$1" ;;
        skeind) signal "$1" KILL /run/node/skeind.pid ;;
        guard) signal "$1" KILL /run/node/skein-guard.pid ;;
        link) lab cut "$source" --from "$target"; lab cut "$target" --from "$source" ;;
        cut) lab cut "$1" ;;
    esac
}
mend() {
    case $2 in
        power) lab start "$1" 2>/dev/null; put_criu "${1#n}" ;;
        link) lab heal "$source"; lab heal "$target" ;;
        cut) lab heal "$1" ;;
    esac
}

# ---- what must be true afterwards

# ask CMD...: of a node that is not to be struck
ask() { on "${via#n}" skein "$@"; }
asked() { on "${via#n}" sh -c '"$@" -f json | jq -r "$0"' "$1" skein "${@:2}"; }
# The next number of the guest, wherever it runs
count() {
    local node
    node=$(look_running counter | awk '{ print $1 }')
    on "${node#n}" sh -c 'echo | nsenter --net=/run/skein/netns/web busybox nc -w 2 127.0.0.1 7000'
}
counts() { counted=$(count) && [[ $counted =~ ^[0-9]+$ ]]; }
in_guest() { ask guest exec web -- "$@"; }
content() { in_guest /bin/md5sum /srv/data/blob; }
# A life of the guest's own: its volume is filled, and it has counted farther than a new one will be asked to
fill() {
    local i
    in_guest /bin/dd if=/dev/urandom of=/srv/data/blob bs=64k count=16 2>/dev/null
    filled=$(content)
    for ((i = 0; i < 10; i++)); do count >/dev/null; done
}
is_whole() { equal "$(content)" "$filled"; }
is_empty() { equal "$(in_guest /bin/ls /srv/data)" ''; }
one_runs() { [ "$(look_running counter | wc -l)" = 1 ]; }
all_up() { [ "$(asked '[.[] | select(.state == "up" and .present)] | length' node list)" = 3 ]; }
none_in_flight() { [ "$(asked length migration list)" = 0 ]; }
# Lines of what a move has made on node K and no guest of that node needs; the second word is its guest, or nothing
leftovers() {
    on "$1" sh -s "$2" <<'S'
find /run/skein/guests /var/lib/skein/guests /var/lib/skein/volumes -maxdepth 2 \( -name 'checkpoint*' -o -name '*.new' \)
ls /var/log/skein/guests | grep '\.new$'
grep -E 'checkpoint|/guests/.*/root' /proc/self/mounts
ls -A /var/lib/skein/guests | grep -vxE "${1:-none}"
ls -A /var/lib/skein/volumes | grep -vE "^(${1:-none})\."
ls /run/skein/netns | grep -vxE "${1:-none}"
for netns in /run/skein/netns/*; do [ ! -e "$netns" ] || nsenter --net="$netns" nft list tables; done | grep CRIU
nft list tables | grep CRIU
pgrep -a -x 'criu|criu.real'
[ -n "$1" ] || pgrep -a -x skein-lxc
true
S
}
all_leftovers() {
    local k home
    home=$(asked .node guest show web)
    for k in 1 2 3; do
        { leftovers $k "$([ "$home" != "n$k" ] || echo web)" || echo 'it does not answer'; } | sed "s/^/n$k: /" &
    done
    wait
}
is_clean() { equal "$(all_leftovers)" ''; }
is_well() { one_runs && all_up && none_in_flight && counts; }
# events FILTER: what the nodes say of the time since the case began; one that is off, or booted meanwhile, says nothing of it
events() {
    local k
    (for k in 1 2 3; do on $k skein events -f json >"$work/events-$k" & done; wait) 2>/dev/null
    cat "$work"/events-[123] |
        jq -r --argjson since "$since" "(if type == \"array\" then .[] else . end) | select(.time_ms >= \$since) | $1"
}
told() { events '"\(.what) \(.guest // "") \(.text)"' | has -E "$1"; }
# Nobody had struck it, and a node was lost, or froze its guest
was_starved() {
    [ -n "$(events "select((.what == \"node-lost\" and .node != \"$lost\") or (.what == \"guest-frozen\" and .node != \"$victim\"))")" ]
}

tell() {
    {
        ask node list
        ask guest list
        ask migration list
        events tostring
        cat "$work/move"
        all_leftovers
        look_processes counter
    } 2>&1 | sed 's/^/#   /'
}
# must NAME CMD...: as ok, and tells what there is when it is not so
must() {
    local before=$failures
    ok "$@"
    [ "$failures" = "$before" ] || tell
}

# `via` leads, and knows it
finds_leader() {
    local k
    for k in 1 2 3; do
        via=$(json $k '.leader // empty' skein status) && [ "$via" = "n$k" ] && return
    done
    return 1
}
is_settled() { source=$(asked .node guest show web) && [[ $source == n* ]]; }
# Leader, source and target are three nodes; `via` is asked, as the victim's may be gone
settle() {
    wait_until 120 finds_leader
    leader=$via
    wait_until 120 is_settled
    if [ "$source" = "$leader" ]; then
        ask guest migrate web --to "n$((${leader#n} % 3 + 1))" --timeout 60s >/dev/null 2>&1
        wait_until 120 is_settled
    fi
    target=n$((6 - ${leader#n} - ${source#n}))
    lost='' victim=''
    began=$(date +%s%N)
    since=$((began / 1000000))
    before=$(number count)
}
begin_move() {
    ask guest migrate web --to "$target" --timeout 60s >"$work/move" 2>&1 &
    mover=$!
}
# after NAME kept|anew|any EVENT. Fails without a verdict when the machine had a node lost that nobody struck.
after() {
    must "$1: it is well again" wait_until 120 is_well
    is_well || bail 'it does not get well any more'
    wait "$mover" 2>/dev/null
    must "$1: nothing half-made stays" wait_until 120 is_clean
    echo "# $1: $((($(date +%s%N) - began) / 1000000)) ms; $(tail -n 1 "$work/move")"
    ! was_starved || return 1
    case $2 in
        kept)
            must "$1: its state was kept" test "$counted" -gt "$before"
            must "$1: and its volume" is_whole
            ;;
        anew)
            must "$1: it was started anew" test "$counted" -lt "$before"
            must "$1: with an empty volume" is_empty
            fill
            ;;
        any) is_whole >/dev/null || fill ;;
    esac
    must "$1: events say so" wait_until 120 told "$3"
}
# tried NAME CMD...: until it comes to a verdict
tried() {
    local tries late
    for ((tries = 0; tries < 3; tries++)); do
        late=''
        "${@:2}" && return
        echo "# $1: ${late:-a node was lost, or froze its guest, that nobody had struck}"
        fill
    done
    if [ -n "$late" ]; then
        must "$1: it did not stand still for long" false
    else
        skip "$1: what becomes of the guest" 'this machine starved a node each time'
    fi
}

is_at_or_starved() { is_at "$1" || was_starved; }
is_at_or_over() { is_at_or_starved "$1" || ! kill -0 "$mover" 2>/dev/null; }
# struck STEP WHO DEED kept|anew|any EVENT
struck() {
    local name="$3 of the $2, $1"
    [ "$3" != link ] || name="the link cut, $1"
    tried "$name" strike_at "$name" "$@"
}
strike_at() {
    local name=$1 step=$2 deed=$4 event=$6
    settle
    victim=${!3}
    [ "$victim" != "$leader" ] || via=$target
    case $deed in power | cut) lost=$victim ;; esac
    hold "$step"
    begin_move
    wait_until 120 is_at_or_over "$step"
    must "$name: the move is there" is_at_or_starved "$step"
    strike "$victim" "$deed"
    case $deed in power | cut) wait_until 120 told '^node-lost' ;; esac
    if [ "$deed" = link ]; then
        pause=$(milliseconds go_on "$step")
        wait_until 120 told "$event"
    else
        release
    fi
    mend "$victim" "$deed"
    after "$name" "$5" "$event" || return
    [ "$deed/$step" != link/copied ] || stood_still "$name"
}
# Its dump was whole, and nothing of what is sent is acknowledged: after a second that is given up. A link's own three seconds
# would be too long; where this machine made it so long, it is measured again.
stood_still() {
    echo "# $1: it ran again $pause ms after its dump"
    [ "$pause" -lt 3000 ] || late="it stood still for $pause ms"
    [ -z "$late" ] && must "$1: it did not stand still for long" true
}
go_on() {
    release
    [ "$1" != copied ] || wait_until 120 one_runs
}

# failing NAME EVENT CMD...: CMD makes the move fail
failing() { tried "$1" fail "$@"; }
fail() {
    settle
    "${@:3}"
    begin_move
    if [ -n "$fills" ]; then
        wait_until 120 is_wired
        fill_up
        release
    fi
    wait "$mover"
    rc=$?
    release
    free_room
    after "$1" kept "$2" || return
    is "$1: the move was refused" "$rc" 1
    case $2 in *'No space' | *'MiB free'*) ok "$1: who asked hears why" grep -q "${2##*.\*}" "$work/move" ;; esac
}
full='' fills=''
# A disk of SIZE at the target
disk_of() {
    full=$2
    on "${target#n}" sh -c 'mkdir -p "$0" && mount -t tmpfs -o "size=$1,mode=711" full "$0"' "$full" "$1"
}
no_room() { disk_of 64k "$1"; }
# It had room when it was asked: that is measured before its port is made, where the target is held then
room_vanishes() {
    disk_of 200m "$1"
    fills=yes
    hold preparing
}
is_wired() { on "${target#n}" test -e /run/skein/netns/web; }
# All of it but what a page or two take
fill_up() { on "${target#n}" sh -c '! cat /dev/zero >"$0/ballast" 2>/dev/null && truncate -s -64k "$0/ballast"' "$full"; }
free_room() {
    [ -z "$full" ] || on "${target#n}" umount -l "$full"
    full='' fills=''
}
at_source() { disturb "$source" "$@"; }
at_target() { disturb "$target" "$@"; }

# ---- the cases

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
for k in 1 2 3; do put_criu $k; done
ok 'a guest that counts' on 1 skein guest run web --kind "${MOVE_KIND:-cell}" --image web --slice red --memory 32m --volume data:/srv/data -- /bin/counter 7000
via=n1
ok 'it counts' wait_until 120 counts
fill

each_kind() {
    # The move is undone for what is heard first: the fault, or the stream's end at the other node.
    local undone='migration-(abort|step-failed).*'
    failing 'criu fails to dump' "${undone}made to fail" at_source dump before fail
    failing 'criu fails to restore' 'migration-return.*made to fail' at_target restore before fail
    failing 'an image is damaged' 'migration-return' at_source dump after damage
    failing 'no room for its memory' "${undone}MiB free for memory" no_room /run/skein/guests
    failing 'no room for its volume' "${undone}MiB free for volumes" no_room /var/lib/skein/volumes
    failing 'the room for its memory vanishes' "${undone}No space" room_vanishes /run/skein/guests
    failing 'the room for its volume vanishes' "${undone}No space" room_vanishes /var/lib/skein/volumes
    struck committed source link kept 'migration-done'
    struck copied source link kept 'migration-abort'
    struck copying source skeind kept 'migration-abort'
    struck copied source guard kept 'migration-abort'
    struck committed target guard kept 'migration-(done|return)'
    struck committed target power kept 'migration-return'
    struck committed source power kept 'migration-done'
    struck copying source power anew 'node-(lost|rebooted)'
    struck copied leader power kept 'migration-(done|abort)'
}
everybody_everywhere() {
    local step who deed
    for step in preparing copying copied committed restored; do
        for who in source target leader; do
            for deed in skeind guard power cut; do struck $step $who $deed any 'migration-|node-'; done
        done
    done
    for step in preparing copying copied restored; do struck $step source link kept 'migration-(abort|done)'; done
}
case ${MOVE_FAULTS:-} in
    '') each_kind ;;
    all) each_kind; everybody_everywhere ;;
    *) read -r step who deed <<<"$MOVE_FAULTS"; struck "$step" "$who" "$deed" any 'migration-|node-' ;;
esac
done_testing
