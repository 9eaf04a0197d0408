# Helpers of the lab scenarios (sourced, bash): TAP points and waiting. A scenario has a lab of its own, $LAB, which goes
# down when the scenario ends, however it ends. No sleeps: wait_until an event, with a limit.
set -uo pipefail
scenarios=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
skein_root=$(cd "$scenarios/../.." && pwd -P)
export LAB=${LAB:-t$$-$(basename "$0" .t)}
points=0
failures=0
work=$(mktemp -d)
stamper=''
trap 'stop_watching; lab down; rm -rf "$work"' EXIT
trap 'exit 143' TERM INT HUP

lab() { "$skein_root/deploy/lab" "$@"; }
# on K CMD...: CMD in node K
on() { lab exec "n$1" -- "${@:2}"; }

point() {
    points=$((points + 1))
    if [ "$1" = ok ]; then echo "ok $points - $2"; else echo "not ok $points - $2"; failures=$((failures + 1)); fi
}

# ok NAME CMD...: passes when CMD succeeds; its output is shown when not, and it fails, so `|| bail` ends the scenario.
ok() {
    local name=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        point ok "$name"
    else
        point no "$name"
        echo "#   failed: $*"
        sed 's/^/#   /' "$work/output"
        return 1
    fi
}

# fails NAME CMD...: passes when CMD fails.
fails() {
    local name=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        point no "$name"
        echo "#   should have failed: $*"
    else
        point ok "$name"
    fi
}

# refused NAME CODE WORDS CMD...: passes when CMD exits with CODE and its error says WORDS (a grep pattern).
refused() {
    local name=$1 code=$2 words=$3 rc=0
    shift 3
    "$@" >"$work/output" 2>"$work/error" || rc=$?
    if [ "$rc" -eq "$code" ] && grep -qi -- "$words" "$work/error"; then
        point ok "refused: $name"
    else
        point no "refused: $name"
        echo "#   exit $rc, wanted $code; the error should say '$words': $*"
        sed 's/^/#   /' "$work/output" "$work/error"
    fi
}

# The node image's: this machine may have none.
jq() { chroot "$("$skein_root/deploy/image")" jq "$@"; }

# json K FILTER CMD...: what jq -r makes of CMD's JSON, on node K
json() { on "$1" sh -c '"$@" -f json | jq -r "$0"' "$2" "${@:3}"; }

# is NAME GOT WANTED
is() {
    if [ "$2" = "$3" ]; then
        point ok "$1"
    else
        point no "$1"
        printf '#   got:    %s\n#   wanted: %s\n' "$2" "$3"
    fi
}

# becomes NAME WANTED CMD...: passes as soon as CMD prints WANTED; what a node says of others may be of a moment before. Shows
# what it printed last.
becomes() {
    local name=$1 wanted=$2 printed=''
    shift 2
    prints() { printed=$("$@"); [ "$printed" = "$wanted" ]; }
    wait_until 60 prints "$@"
    is "$name" "$printed" "$wanted"
}

# number CMD...: the whole number that CMD prints, as soon as it prints one
number() {
    local n=''
    is_number() { n=$("$@"); [[ $n =~ ^-?[0-9]+$ ]]; }
    wait_until 60 is_number "$@"
    echo "$n"
}

# has PATTERN (grep's options before it): whether standard input has it. All is read: whoever writes to one that leaves early fails.
has() { grep -q "$@" <<<"$(cat)"; }

# equal GOT WANTED
equal() { [ "$1" = "$2" ] || { printf 'got:    %s\nwanted: %s\n' "$1" "$2"; return 1; }; }

# the_copy COMM: "NODE PID" of the one copy that runs (deploy/look.sh). None is a pause, as at a change of leaders, and waited for;
# two are two when they are seen twice in a row: one look takes a while.
the_copy() {
    local copy='' before=none deadline=$((SECONDS + 60))
    while [ $SECONDS -lt $deadline ]; do
        copy=$(look_running "$1")
        if [[ $copy == *$'\n'* ]]; then
            [ "$copy" != "$before" ] || break
        elif [ -n "$copy" ]; then
            echo "$copy"
            return
        fi
        before=$copy
        sleep 0.02
    done
    echo "no copy, or two: $copy"
    return 1
}

# watch_machine: from now on a process beside the lab, of ordinary priority, stamps every 5 ms.
watch_machine() {
    "$("$skein_root/deploy/build")/deploy/stamp" send 127.0.0.1 9 5 "$work/machine" &
    stamper=$!
    count_waits
}
# count_waits: from now on, for busy_percent: how much of the time somebody waited for a core (0 where the kernel does not count that)
count_waits() { counted_from=$(date +%s%N) waits_before=$(core_waits_us); }
core_waits_us() { sed -n 's/^some .*total=//p' /proc/pressure/cpu 2>/dev/null | grep . || echo 0; }
busy_percent() { echo $((($(core_waits_us) - waits_before) * 100000 / ($(date +%s%N) - counted_from))); }
stop_watching() { [ -z "$stamper" ] || { kill "$stamper"; wait "$stamper"; } 2>/dev/null; }
# waited_ms [SINCE]: for how long this machine has kept that process waiting at most, since a moment in ms
waited_ms() {
    awk -v since="${1:-0}" 'NF == 3 && $3 >= since { if (last && $3 - last - 5 > max) max = $3 - last - 5; last = $3 }
        END { printf "%d", max }' "$work/machine"
}

# steady NAME CMD...: as ok, for what holds while processes run: a lease ends rightly where the machine keeps them waiting. Then it is a
# loud skip. (60-flood alone on two cores keeps somebody waiting for 75 to 89 % of the time, and passes.)
steady() {
    local name=$1 waited busy
    shift
    if "$@" >"$work/output" 2>&1; then
        point ok "$name"
        return
    fi
    waited=$(waited_ms) busy=$(busy_percent)
    if [ "$waited" -gt 200 ] || [ "$busy" -gt 95 ]; then
        skip "$name" "this machine kept a process waiting for $waited ms, somebody for $busy % of the time: $(tr '\n' ' ' <"$work/output")"
    else
        point no "$name"
        echo "#   failed, and the machine kept a process waiting for $waited ms at most, somebody for $busy % of the time: $*"
        sed 's/^/#   /' "$work/output"
    fi
}

# skip NAME WHY
skip() {
    points=$((points + 1))
    echo "ok $points - $1 # SKIP $2"
}

# bail WHY: nothing further makes sense.
bail() {
    point no "$1"
    done_testing
}

# wait_until SECONDS CMD...: polls CMD until it succeeds; fails when the limit passes first, with what CMD said last on stderr.
# The limit only ends what hangs: generous, for a machine that is five times slower.
wait_until() {
    local deadline=$(($(date +%s%N) + $1 * 1000000000))
    shift
    until "$@" >"$work/last" 2>&1; do
        [ "$(date +%s%N)" -lt "$deadline" ] || { sed 's/^/#   /' "$work/last" >&2; return 1; }
        sleep 0.02
    done
}

# milliseconds CMD...: how long CMD takes; its output goes away.
milliseconds() {
    local start=$(date +%s%N)
    "$@" >/dev/null 2>&1
    echo $((($(date +%s%N) - start) / 1000000))
}

done_testing() {
    echo "1..$points"
    exit $((failures > 0))
}
