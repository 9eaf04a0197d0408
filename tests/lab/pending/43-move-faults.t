#!/bin/bash
# A move is disturbed at each of its steps: the guest runs once afterwards, with its state wherever the law of moving keeps it,
# `events` says what happened, and nothing half-made stays. A criu of the node's own (a script before the real one) holds a move
# at a step, or fails there; then a node, a daemon or a link of the source, the target or the leader is struck. MOVE_FAULTS=all
# strikes everybody everywhere; without it each kind of fault comes once.
# limit: 1800
. "$(dirname "$0")/../lib.sh"
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
one_runs() { [ "$(look_running counter | wc -l)" = 1 ]; }
all_up() { [ "$(asked '[.[] | select(.state == "up" and .present)] | length' node list)" = 3 ]; }
none_in_flight() { [ "$(asked length migration list)" = 0 ]; }
# Lines of what a move has made on node K and no guest of that node needs
leftovers() {
    on "$1" sh -s "$(asked '[.[] | select(.node == "n'"$1"'") | .name] | join("|")' guest list)" <<'S'
find /run/skein/guests /var/lib/skein/guests -maxdepth 2 \( -name 'checkpoint*' -o -name '*.new' \)
ls /var/log/skein/guests | grep '\.new$'
grep -E 'checkpoint|/guests/.*/root' /proc/self/mounts
ls /run/skein/netns | grep -vxE "${1:-none}"
for netns in /run/skein/netns/*; do [ ! -e "$netns" ] || nsenter --net="$netns" nft list tables; done | grep CRIU
nft list tables | grep CRIU
pgrep -a -x 'criu|criu.real'
true
S
}
is_clean() { [ -z "$(leftovers 1; leftovers 2; leftovers 3)" ]; }
is_well() { one_runs && all_up && none_in_flight && counts; }
# What the nodes say of the time since the case began: one that booted meanwhile has forgotten
events() {
    local k
    for k in 1 2 3; do
        on $k skein events -f json | jq -r --argjson since "$since" \
            '(if type == "array" then .[] else . end) | select(.time_ms >= $since) | "\(.what) \(.guest // "") \(.text)"'
    done 2>/dev/null
}
told() { events | grep -E "$1"; }

tell() {
    local k
    {
        ask node list
        ask guest list
        ask migration list
        events
        cat "$work/move"
        for k in 1 2 3; do leftovers $k | sed "s/^/left on n$k: /"; done
        look_processes counter
    } 2>&1 | sed 's/^/#   /'
}
# must NAME CMD...: as ok, and tells what there is when it is not so
must() {
    local before=$failures
    ok "$@"
    [ "$failures" = "$before" ] || tell
}

# Leader, source and target are three nodes; `via` is asked, as the victim's may be gone
settle() {
    via=$(for k in 1 2 3; do json $k '.leader // empty' skein status; done | head -n 1)
    leader=$via
    source=$(asked .node guest show web)
    if [ "$source" = "$leader" ]; then
        ask guest migrate web --to "n$((${leader#n} % 3 + 1))" --timeout 60s >/dev/null
        source=$(asked .node guest show web)
    fi
    target=n$((6 - ${leader#n} - ${source#n}))
    since=$(($(date +%s%N) / 1000000))
    before=$(count)
}
begin_move() {
    ask guest migrate web --to "$target" --timeout 60s >"$work/move" 2>&1 &
    mover=$!
}
# after NAME kept|anew|any EVENT. On a starved machine a struck daemon may cost its node the lease: then it is a loss, and said so.
after() {
    must "$1: it is well again" wait_until 40 is_well
    is_well || wait_until 40 is_well || bail 'it does not get well any more'
    wait "$mover" 2>/dev/null
    if [ "$2" = kept ] && [ -n "${may_be_lost:-}" ] && told '^node-lost'; then
        echo "# $1: the node was lost meanwhile"
    elif [ "$2" = kept ]; then
        must "$1: its state was kept" test "$counted" -gt "$before"
    elif [ "$2" = anew ]; then
        must "$1: it was started anew" test "$counted" -lt "$before"
    fi
    must "$1: events say so" told "$3"
    must "$1: nothing half-made stays" wait_until 20 is_clean
}

# struck STEP WHO DEED kept|anew|any EVENT
struck() {
    local name="$3 of the $2, $1" victim
    settle
    [ "$3" != link ] || name="the link cut, $1"
    victim=${!2}
    [ "$victim" != "$leader" ] || via=$target
    may_be_lost=''
    case $3 in skeind | guard) may_be_lost=yes ;; esac
    hold "$1"
    begin_move
    must "$name: the move is there" wait_until 20 is_at "$1"
    strike "$victim" "$3"
    case $3 in
        power | cut) wait_until 20 told "^node-lost" ;;
        link) wait_until 20 told "$5" ;;
    esac
    release
    mend "$victim" "$3"
    after "$name" "$4" "$5"
}

# failing NAME NODE WHAT... kept EVENT: criu on NODE does that
failing() {
    settle
    disturb "${!2}" "${@:3:3}"
    begin_move
    wait "$mover"
    is "$1: the move is refused" "$?" 1
    release
    after "$1" kept "$6"
}

# ---- the cases

ok 'a cluster of three' lab up -n 3 --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
for k in 1 2 3; do put_criu $k; done
ok 'a guest that counts' on 1 skein guest run web --image web --slice red --memory 32m -- /bin/counter 7000
via=n1
ok 'it counts' wait_until 10 counts
for ((i = 0; i < 5; i++)); do count >/dev/null; done

failing 'criu fails to dump' source dump before fail '^migration-abort.*made to fail'
failing 'criu fails to restore' target restore before fail 'migration-return.*made to fail'
failing 'an image is damaged' source dump after damage 'migration-return'

settle
on "${target#n}" sh -c 'mkdir -p /run/skein/guests && mount -t tmpfs -o size=64k full /run/skein/guests'
begin_move
wait "$mover"
is 'no room on the target: the move is refused' "$?" 1
on "${target#n}" umount -l /run/skein/guests
after 'no room on the target' kept 'migration-abort.*No space'

struck copying source link kept 'migration-abort'
struck copying source skeind kept 'migration-abort|node-lost'
struck copied source guard kept 'migration-abort|node-lost'
struck committed target guard kept 'migration-(done|return)|node-lost'
struck committed target power kept 'node-(lost|rebooted)'
struck committed source power kept 'migration-done'
struck copying source power anew 'node-(lost|rebooted)'
struck copied leader power kept 'migration-(done|abort)'

if [ "${MOVE_FAULTS:-}" = all ]; then
    for step in preparing copying copied committed restored; do
        for who in source target leader; do
            for deed in skeind guard power cut; do
                struck $step $who $deed any 'migration-|node-'
            done
        done
    done
fi
done_testing
