# Helpers of the scenarios that run in a board (sourced, bash), on top of those of the lab. An emulated processor is some fifty
# times slower than a board's own, and its machine may be busy besides: timers are the longest that the leases allow, a command
# whose answer is lost is asked again, and limits only end what hangs.
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../lab/lib.sh"

board_timers='--conf profile=slow'

node_of() { json 1 .node skein guest show "$1"; }
state_of() { json 1 .state skein guest show "$1"; }
other() { [ "$1" = n1 ] && echo n2 || echo n1; }
# does K CMD...: runs it until it succeeds
does() { wait_until 300 on "$@"; }
is_over() { [ "$(json 1 length skein migration list)" = 0 ]; }
# moves GUEST NODE FLAGS...: the guest is there afterwards, whether the answer came or not; the last one is in $work/moved
moves() {
    local tries
    for tries in 1 2 3 4; do
        on 1 skein guest migrate "$1" --to "$2" --timeout 600s -f json "${@:3}" >"$work/moved" 2>"$work/error" && return
        grep -v '^{' "$work/error" | sed 's/^/# /'
        wait_until 200 is_over
        [ "$(number_of_node "$1")" != "$2" ] || return 0
    done
    cat "$work/error"
    return 1
}
number_of_node() { local node=''; has_node() { node=$(node_of "$1"); [[ $node =~ ^n[0-9]+$ ]]; }; wait_until 120 has_node "$1"; echo "$node"; }
moved() { jq -r "$1" <"$work/moved"; }
