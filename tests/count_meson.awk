# Counts the TAP points in meson's testlog.txt: prints "passed failed skipped". A test program that fails without a failed
# point, or breaks its plan, counts as one failure; one that speaks no TAP counts by its exit status.
function finish() {
    if (!inside) return
    if (!points && !planned) { if (good) passed++; else failed++ }
    else if (!bad && (!good || (planned && plan != points))) failed++
    inside = 0
}
/^=+ [0-9]+\/[0-9]+ =+$/ { finish(); inside = 1; points = planned = plan = bad = good = 0; next }
!inside { next }
/^result: / { good = $0 ~ /exit status 0$/ }
/^ok / { if (tolower($0) ~ /# *skip/) { skipped++; print "skipped: " $0 >"/dev/stderr" } else passed++; points++ }
/^not ok/ { failed++; bad++; points++ }
/^1\.\.[0-9]+/ { plan = substr($1, 4) + 0; planned = 1 }
END { finish(); print passed + 0, failed + 0, skipped + 0 }
