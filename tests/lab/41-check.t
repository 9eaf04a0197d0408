#!/bin/bash
# What can be moved is said beforehand: the verdict, every reason, and nothing is changed; what is named there is refused by
# the move itself, and the guest goes on.
# limit: 300
. "$(dirname "$0")/lib.sh"
build=$("$skein_root/deploy/build")

check() { on 1 skein guest migrate "$1" --check -f json "${@:2}"; }
verdict() { check "$@" | jq -r '"\(.verdict) \(.mode)"'; }
codes() { check "$@" | jq -r '[.reasons[] | select(.severity == "obstacle") | .code] | sort | join(" ")'; }
run() { on 1 skein guest run "$@"; }
logged() { on 1 skein guest logs "$1" | grep -q "$2"; }
migrations() { on 1 skein events -f json | grep -c '"migration-'; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/root"
install -m 755 "$build/tests/lab/misfit" "$work/root/bin/"
tar --create --file "$work/web.tar" --directory "$work/root" --owner 0 --group 0 .
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'a guest' run web --image web --slice red --on n2 -- /bin/counter 7000
ok 'another that may go anywhere' run free --image web --slice red -- /bin/counter 7000

node=$(json 1 .node skein guest show free)
becomes 'a plain guest can move' 'possible stop-and-copy' verdict free
own() { check free | jq -r --arg n "$node" '.nodes[] | select(.node == $n) | .verdict'; }
becomes 'its own node is no target' refused own
becomes 'nothing speaks against it' '' codes free
ok 'a table for people says it' wait_until 60 on 3 sh -c 'skein guest migrate free --check | grep -q "^free: possible, stop-and-copy"'
carried() { check free | jq '.memory_bytes > 10000 and .processes == 2 and .blackout_ms > 0'; }
becomes 'it says what is to be carried' true carried
has_room() { check free | jq -e --arg n "$node" '.chosen != $n and .room.files_bytes > 0 and .room.memory_bytes > 0'; }
ok 'and what is free where it would go' wait_until 60 has_room
has_note() { check free --downtime 1ms | jq -e '[.reasons[] | select(.severity == "note") | .code] | index("downtime")'; }
ok 'more than the downtime is a note' wait_until 60 has_note
becomes 'one bound to its node cannot' place codes web
code() { check web >/dev/null; echo $?; }
becomes 'and exits 3' 3 code
refused 'an unknown guest' 1 'nobody' on 1 skein guest migrate nobody --check
refused 'an unknown target' 1 'n9' on 1 skein guest migrate free --check --to n9

# A big guest takes longer than it may.
ok 'a guest with 24 MiB' run big --image web -- /bin/sh -c 'dd if=/dev/urandom of=/dev/shm/ballast bs=1M count=24; echo full; exec sleep 1000'
ok 'full' wait_until 60 logged big full
counted() { check big | jq '.verdict == "possible" and .files_bytes >= 24 * 1048576 and .blackout_ms > 1000 and ([.reasons[].code] | index("downtime") != null)'; }
becomes 'its memory counts, and the link' true counted
unnoted() { check big --downtime 100s | jq '[.reasons[].code] | index("downtime")'; }
becomes 'a long enough downtime says no more of it' null unnoted

# A command that was put into it.
on 1 skein guest exec free -- /bin/sh -c 'until [ -e /tmp/end ]; do sleep 0.1; done' >/dev/null 2>&1 &
names() { [ "$(codes "$1")" = "$2" ]; }
ok 'guest exec is in the way' wait_until 60 names free exec
on 1 skein guest exec free -- /bin/touch /tmp/end
ok 'and no more when it ended' wait_until 60 names free ''

# What CRIU cannot move: found beforehand, refused by the move itself, and the guest goes on.
is_state() { [ "$(json 1 .state skein guest show "$1")" = "$2" ]; }
moves_not() { ! on 1 skein guest migrate "$1" --timeout 40s && wait_until 60 is_state "$1" running; }
holds_or_ended() { logged "$1" holds || is_state "$1" stopped; }
# misfit KIND CODE ARGUMENT...
misfit() {
    run "m$1" --image web --restart never -- /bin/misfit "$1" "${@:3}" >/dev/null 2>&1
    wait_until 60 holds_or_ended "m$1"
    if ! logged "m$1" holds; then
        skip "$1 is named: $2" "this kernel has none: $(on 1 skein guest logs "m$1" 2>&1 | tail -n 1)"
        on 1 sh -c "skein guest stop m$1; skein guest rm m$1" >/dev/null 2>&1
        return
    fi
    becomes "$1 is named" "$2" codes "m$1"
    ok "$1 does not move, and goes on" moves_not "m$1"
    on 1 sh -c "skein guest stop m$1; skein guest rm m$1" >/dev/null 2>&1
}
misfit ptrace ptrace
misfit mqueue message-queue
misfit secret secret-memory
misfit mptcp socket
misfit inotify watch
misfit link deleted-link
[ $((0x$(on 1 sed -n 's/^CapEff:.//p' /proc/self/status) >> 24 & 1)) = 1 ] || misfit user limits

# The plain one moves as it was said.
before=$(migrations)
check free >/dev/null
is 'looking migrates nothing' "$(migrations)" "$before"
# Another time, if one of the two that it may go to has become the better one since.
moves_as_said() {
    local chosen
    chosen=$(check free | jq -r .chosen)
    on 1 skein guest migrate free && [ "$(json 1 .node skein guest show free)" = "$chosen" ]
}
ok 'it moves to where it was said' wait_until 60 moves_as_said
done_testing
