# What guests full of what a guest can hold (tests/lab/selfcheck) are asked and leave behind, for the scenarios that move them: sourced
# after lib.sh. The guest is called full.

logged() { on 1 skein guest logs "$1" | grep -q "$2"; }
# What a move has made on node K beyond what a guest has
leftovers() {
    on "$1" sh -c 'find /run/skein/guests /var/lib/skein/guests -maxdepth 2 \( -name "checkpoint*" -o -name "*.new" \)
        grep checkpoint /proc/self/mounts; pgrep -x criu; true'
}
is_clean() { [ -z "$(leftovers 1; leftovers 2)" ]; }
# look WHEN: every check of the guest is a point
look() {
    local line n=0
    on 1 skein guest exec full -- /bin/selfcheck ask >"$work/answers" 2>&1
    while read -r line; do
        case $line in
            'ok '*) point ok "$1: ${line#ok * - }" ;;
            'not ok '*) point no "$1: ${line#not ok * - }" ;;
            1..*) n=${line#1..} ;;
        esac
    done <"$work/answers"
    ok "$1: it has looked at all" test "$n" -gt 25 || sed 's/^/#   /' "$work/answers"
}
