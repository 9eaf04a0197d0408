# Checks #include lines against tests/include-rules: awk -f check_includes.awk tests/include-rules FILE...
# Prints TAP with one point a rule; what breaks a rule is listed under its point.

function parse_rule(    i) {
    if ($1 == "room") for (i = 2; i <= NF; i++) room[$2, $i] = known[$2] = 1
    else if ($1 == "world") { world[$2] = 1; for (i = 3; i <= NF; i++) owner[$2, $i] = third[$i] = 1 }
    else if ($1 == "shell") shell_room[$2] = 1
    else if ($1 == "plain") for (i = 2; i <= NF; i++) plain[$i] = 1
    else if ($1 == "system") for (i = 2; i <= NF; i++) systems[$i] = 1
    else if ($1 == "allow") allowed[$2, $3] = 1
    else breaks("rules", "tests/include-rules: unknown word \"" $1 "\"")
}

function breaks(rule, text) { broken[rule] = broken[rule] "#   " text "\n" }
function room_of(path) { return substr(path, 1, index(path, "/") - 1) }

# The worlds in a file's name into bears[]; returns how many.
function worlds_of(path, bears,    parts, i, n, count) {
    split("", bears)
    sub(/.*\//, "", path); sub(/\.[ch]$/, "", path)
    n = split(path, parts, "_")
    for (i = 1; i <= n; i++) if (parts[i] in world) { bears[parts[i]] = 1; count++ }
    return count + 0
}

function is_pure(path,    bears) { return !(room_of(path) in shell_room) && worlds_of(path, bears) == 0 }
function is_system(header) {
    if (header in systems) return 1
    return sub(/\/.*/, "/*", header) && (header in systems)
}

function bears_owner(path, header,    bears, w) {
    worlds_of(path, bears)
    for (w in bears) if ((w, header) in owner) return 1
    return 0
}

function check_own(path, header, at) {
    if (index(header, "/") == 0)
        breaks("rooms", at " \"" header "\": write the path from the project's root")
    else if (!((room_of(path), room_of(header)) in room))
        breaks("rooms", at " \"" header "\": " room_of(path) "/ may not include " room_of(header) "/")
    if (is_pure(path) && !is_pure(header))
        breaks("pure", at " \"" header "\": a pure file may not include a shell's header")
}

function check_system(path, header, at) {
    if ((path, header) in allowed) return
    if (header in third) {
        if (!bears_owner(path, header)) breaks("third", at " <" header ">: only in a file that bears its name")
    } else if (!(header in plain)) {
        if (!is_system(header)) breaks("third", at " <" header ">: unknown, give it a line in tests/include-rules")
        else if (is_pure(path)) breaks("pure", at " <" header ">: a pure file reaches no clock, file, socket or thread")
    }
}

function point(rule, text) {
    if (rule in broken) { printf "not ok %d - %s\n%s", ++n_points, text, broken[rule]; failed = 1 }
    else printf "ok %d - %s\n", ++n_points, text
}

FNR == 1 && NR > 1 { n_files++ }
NR == FNR { sub(/#.*/, ""); if (NF) parse_rule(); next }
/^[ \t]*#[ \t]*include[ \t]*["<]/ {
    n_includes++
    header = $0
    sub(/^[^"<]*["<]/, "", header); sub(/[">].*/, "", header)
    if (!(room_of(FILENAME) in known)) breaks("rooms", FILENAME ": a room without rules")
    else if ($0 ~ /include[ \t]*"/) check_own(FILENAME, header, FILENAME ":" FNR)
    else check_system(FILENAME, header, FILENAME ":" FNR)
}
END {
    if (!n_files || !n_includes) breaks("rules", "no source file, or none with an #include, was given")
    point("rules", "the rules are understood, and there are files to check (" n_files + 0 ")")
    point("rooms", "rooms include only the rooms that they may")
    point("third", "third-party headers are included only by files that bear their names")
    point("pure", "pure files include only pure and plain headers")
    print "1.." n_points
    exit failed
}
